// Parses with tree-sitter whatever is known to be well written: experiments, samples, the book, the snippets, and the bad
// files of the tests whose mistakes are not in their writing. Where the writing is bad, the tree must say so.

import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = `${process.argv[2]}/samples`;
rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });

const files = (path, ending) =>
  readdirSync(root + path, { recursive: true })
    .filter((name) => name.endsWith(ending))
    .map((name) => ({ name: `${path}/${name}`, text: readFileSync(`${root}${path}/${name}`, "utf8") }));

/** Codes of mistakes in the writing that break the tree; others, such as a tab, do not. */
const BREAKS = /E01(01|02|03|04|05|10|11|12|13)|E0301|E0403/;
/** Bad files that one grammar reads and the other does not: they say nothing of either. */
const EITHER = [
  "E0006_year_alone", "E0109_report", "E0202_head_twice", "E0204_report_misspelt", "E0204_schedule_misspelt", "E0301_per",
  "E0403_no_braces", "E0403_single_brace",
].map((name) => `/${name}.agx`);

const good = [...files("experiments", ".agx"), ...files("tests/it/samples", ".agx"), ...files("tests/it/cli", ".agx")];
const bad = [];
for (const file of files("tests/it/diagnostics", ".agx")) {
  if (file.name.includes("/blind/") || EITHER.some((name) => file.name.endsWith(name))) continue;
  const codes = [...file.text.matchAll(/\/\/~ *(.*)/g)].map((found) => found[1]).join(" ");
  (BREAKS.test(codes) ? bad : good).push(file);
}

let blocks = 0;
for (const page of [{ name: "README.md", text: readFileSync(`${root}README.md`, "utf8") }, ...files("book/src", ".md")]) {
  for (const [, info, text] of page.text.matchAll(/^```(agx\b[^\n]*)\n(.*?)^```/gms)) {
    blocks++;
    const parts = info.split(",");
    const inside = parts.includes("schedule") ? `schedule {\n${text}}\n` : text;
    const whole = parts.some((part) => ["schedule", "report"].includes(part)) ? `experiment e {\n${inside}}\n` : text;
    const file = { name: `${page.name} ${blocks}`, text: whole };
    (BREAKS.test(info) ? bad : good).push(file);
  }
}

const snippets = JSON.parse(readFileSync(`${root}grammar/vscode/snippets/agx.json`, "utf8"));
for (const [name, { body }] of Object.entries(snippets)) {
  const text = body
    .join("\n")
    .replace(/\$\{\d+\|([^,|]+)[^}]*\}/g, "$1")
    .replace(/\$\{\d+:([^}]*)\}/g, "$1")
    .replace(/\$0/g, "");
  good.push({ name: `snippet ${name}`, text: name === "repeat" ? `experiment e {\n schedule {\n${text}\n }\n}` : text });
}

function parse(list, kind) {
  const paths = list.map(({ text }, index) => {
    const path = `${folder}/${kind}${String(index).padStart(3, "0")}.agx`;
    writeFileSync(path, text);
    return path;
  });
  writeFileSync(`${folder}/${kind}.paths`, paths.join("\n") + "\n");
  const run = spawnSync("tree-sitter", ["parse", "--no-ranges", "--paths", `${folder}/${kind}.paths`], {
    cwd: `${root}grammar/tree-sitter`,
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  if (run.error) throw run.error;
  const trees = run.stdout.split(/^\(file/m).slice(1);
  if (trees.length !== list.length) throw new Error(`${trees.length} trees of ${list.length} files: ${run.stderr}`);
  return trees.map((tree) => /\((ERROR|MISSING|unclosed)\b/.test(tree));
}

const problems = [];
parse(good, "good").forEach((broken, at) => broken && problems.push(`${good[at].name} does not parse: ${folder}/good*`));
parse(bad, "bad").forEach((broken, at) => broken || problems.push(`${bad[at].name} parses, and is badly written`));
if (good.length < 60 || bad.length < 10 || blocks < 10) problems.push("the samples are not found");
for (const problem of problems) console.error(problem);
console.log(`${good.length} well written files parse, ${bad.length} badly written ones do not (${blocks} blocks of the book)`);
process.exit(problems.length > 0 ? 1 : 0);
