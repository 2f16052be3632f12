// Checks a document with AsyncAPI's own parser; any diagnostic, even a warning, is a failure.
const { readFileSync } = require("node:fs");
const { Parser } = require("@asyncapi/parser");

// Reported for every document that does not use the latest version of AsyncAPI.
const OPTIONAL = new Set(["asyncapi-latest-version"]);

new Parser().parse(readFileSync(process.argv[2], "utf8")).then(({ document, diagnostics }) => {
  const complaints = diagnostics.filter((one) => !OPTIONAL.has(String(one.code)));
  for (const one of complaints) {
    console.log(`${one.code} at ${one.path.join(".")}: ${one.message}`);
  }
  if (!document || complaints.length) process.exit(1);
  const ignored = diagnostics.length - complaints.length;
  console.log(
    `valid: AsyncAPI ${document.version()}, ${document.channels().all().length} channels, ` +
      `${document.operations().all().length} operations (${ignored} hints)`,
  );
});
