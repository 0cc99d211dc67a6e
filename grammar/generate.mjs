// Writes what is made from words.json: the scanner's word list, tree-sitter's highlights, and the TextMate grammar.
//
//   node grammar/generate.mjs          compares, and fails where a file is not what it would write
//   node grammar/generate.mjs --write  writes

import { readFileSync, writeFileSync } from "node:fs";
import { highlights } from "./generate/highlights.mjs";
import { textmate } from "./generate/textmate.mjs";

const here = (path) => new URL(path, import.meta.url);
const table = JSON.parse(readFileSync(here("words.json"), "utf8"));

/** The words of some classes, each once. */
const words = (...classes) => [
  ...new Set(
    classes.flatMap((name) => table.classes.find((group) => group.class === name).words.map((entry) => entry.word)),
  ),
];

const quoted = words("item").map((word) => `"${word}"`);
const files = {
  "tree-sitter/src/words.h": `// Made from ../../words.json: \`grammar/test --write\` writes it.
static const char *const ITEM_WORDS[] = {
    ${quoted.slice(0, 7).join(", ")},
    ${quoted.slice(7).join(", ")},
};
`,
  "tree-sitter/queries/highlights.scm": highlights(words),
  "vscode/syntaxes/agx.tmLanguage.json": JSON.stringify(textmate(words), null, 2) + "\n",
};

const write = process.argv.includes("--write");
let stale = 0;
for (const [path, text] of Object.entries(files)) {
  if (write) {
    writeFileSync(here(path), text);
  } else if (readFileSync(here(path), "utf8") !== text) {
    console.error(`grammar/${path} is not what words.json makes of it: run \`grammar/test --write\``);
    stale++;
  }
}
process.exit(stale > 0 ? 1 : 0);
