// Runs before anything is drawn, so that no page flashes in the wrong colours. The choice is
// "auto" (what the system says), "light" or "dark", and is kept in this browser.
(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const read = () => {
    try {
      return localStorage.getItem("serd-theme") || "auto";
    } catch {
      return "auto"; // storage may be forbidden
    }
  };
  let choice = read();
  const apply = () => {
    const dark = choice === "dark" || (choice === "auto" && system.matches);
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    document.dispatchEvent(new Event("serd-theme"));
  };
  system.addEventListener("change", apply);
  apply();
  globalThis.serdTheme = {
    get choice() {
      return choice;
    },
    next() {
      choice = { auto: "light", light: "dark", dark: "auto" }[choice] ?? "auto";
      try {
        localStorage.setItem("serd-theme", choice);
      } catch {
        // It holds until the page is closed.
      }
      apply();
    },
  };
})();
