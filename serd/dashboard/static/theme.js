// Runs before anything is drawn, so that the page does not flash in the wrong colours. The choice
// is "auto" (the system's setting), "light" or "dark", and is stored in this browser.
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
        // It lasts until the page is closed.
      }
      apply();
    },
  };
})();
