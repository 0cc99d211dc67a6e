// Turns the table of words into a TextMate grammar. It knows no structure, only what stands beside a word.

const NAME = "[A-Za-z_][A-Za-z0-9_]*";
const PATH = `${NAME}(?:\\.${NAME})*`;

/** Longer words first: an alternation takes the first that fits. */
const any = (words) => `(?:${[...words].sort((a, b) => b.length - a.length || (a < b ? -1 : 1)).join("|")})`;

const captures = (scopes) =>
  Object.fromEntries(scopes.map((scope, index) => [index + 1, { name: `${scope}.agx` }]));

const pair = (pattern, ...scopes) => ({ match: pattern, captures: captures(scopes) });
const one = (scope, pattern) => ({ name: `${scope}.agx`, match: pattern });
const include = (...names) => names.map((name) => ({ include: `#${name}` }));

/** A text block behind so many hashes; its holes ask for the same hashes. */
function textBlock(hashes) {
  const mark = "#".repeat(hashes);
  const hole = (open, close, name, patterns) => ({
    name: `meta.${name}.agx`,
    begin: `${mark}${open}`,
    end: `${close}|(?=""")`,
    beginCaptures: { 0: { name: "punctuation.section.embedded.begin.agx" } },
    endCaptures: { 0: { name: "punctuation.section.embedded.end.agx" } },
    patterns,
  });
  return {
    name: "string.quoted.triple.agx",
    begin: `(?<!#)${mark}"""`,
    end: `"""${mark}`,
    beginCaptures: { 0: { name: "punctuation.definition.string.begin.agx" } },
    endCaptures: { 0: { name: "punctuation.definition.string.end.agx" } },
    patterns: [
      hole("\\{\\{", "\\}\\}", "interpolation", include("hole")),
      hole("\\{%", "%\\}", "directive", include("directive")),
    ],
  };
}

export function textmate(words) {
  const named = words("item").filter((word) => !["agx", "import", "let", "param", "prompt", "rule", "matrix"].includes(word));
  const lines = ["plot", "table"];
  const sections = any(words("part").filter((word) => !["unstable", ...lines].includes(word)));
  const clauses = words("clause").filter((word) => word !== "task");
  // What follows tells a word from a name: a stage, a statement and a clause go on, a name is given or taken apart.
  const goesOn = "(?=\\s+[A-Za-z0-9_(@\\[]|\\s*$)";
  const noName = "(?!\\s*(?:=(?![=>])|[:.(]))";

  return {
    $comment: "Made by ../../generate.mjs: `grammar/test --write` writes it.",
    name: "agx",
    scopeName: "source.agx",
    fileTypes: ["agx"],
    patterns: include("comment", "text", "string", "item", "value"),
    repository: {
      comment: {
        patterns: [
          one("comment.line.documentation", "///(?!/).*$"),
          one("comment.line.documentation", "//!.*$"),
          one("comment.line.double-slash", "//.*$"),
        ],
      },
      text: { patterns: [0, 1, 2, 3].map(textBlock) },
      string: {
        name: "string.quoted.double.agx",
        begin: '"',
        end: '"|$',
        patterns: [
          one("constant.character.escape", '\\\\(?:u\\{[0-9A-Fa-f]{1,6}\\}|[nt"\\\\])'),
          one("invalid.illegal.escape", "\\\\."),
        ],
      },
      item: {
        patterns: [
          pair("^(agx)\\s+(\\d+)(?:\\s+(unstable))?", "storage.type", "constant.numeric", "keyword.control.part"),
          pair("^(import)\\b", "storage.type"),
          pair(`^(${any(["let", "param"])})\\s+(${NAME})`, "storage.type", "variable.other.constant"),
          pair(`^(${any(["prompt", "rule"])})\\s+(${NAME})`, "storage.type", "entity.name.function"),
          pair(
            `^(matrix)\\s+(${NAME})\\s+(of)\\s+(${NAME})`,
            "storage.type",
            "entity.name.type",
            "keyword.other.clause",
            "entity.name.type",
          ),
          pair(`^(${any(named)})\\s+(${NAME})`, "storage.type", "entity.name.type"),
        ],
      },
      value: {
        patterns: include(
          "quantity",
          "version",
          "statement",
          "message",
          "part",
          "key",
          "type",
          "case",
          "stage",
          "mark",
          "operator-word",
          "clause",
          "literal",
          "call",
          "sign",
        ),
      },
      quantity: {
        patterns: [
          pair(
            `\\b(\\d[\\d_]*(?:\\.\\d[\\d_]*)?(?:[eE][+-]?\\d+)?)(%)?(?:[ \\t]+(${any(words("unit"))})\\b(?!\\s*=))?`,
            "constant.numeric",
            "keyword.other.unit",
            "keyword.other.unit",
          ),
          pair(`\\b(per)\\s+(${any(words("period"))})\\b`, "keyword.other.clause", "keyword.other.unit"),
        ],
      },
      version: {
        patterns: [one("constant.other.version", `@(?:\\d+|${any(words("version"))}\\b)`)],
      },
      statement: {
        patterns: [
          pair(`\\b(let)\\s+(${NAME})(?=\\s*=)`, "keyword.control.statement", "variable.other.readwrite"),
          pair(`\\b(as)\\s+(${NAME})`, "keyword.other.clause", "variable.other.readwrite"),
          one("keyword.control.statement", `\\b${any(words("statement"))}\\b${goesOn}`),
        ],
      },
      message: { patterns: [pair(`\\b(${any(words("role"))})\\s+(?=#*""")`, "entity.name.tag")] },
      part: {
        patterns: [
          one("keyword.control.part", `\\b${sections}\\b(?=\\s*\\{)`),
          one("keyword.control.part", `\\b${any(lines)}\\b${goesOn}`),
        ],
      },
      key: {
        patterns: [
          one("variable.other.property", `\\b${PATH}(?=\\s*(?:=(?![=>])|:))`),
          pair(`(?:^|(?<=[{,]))\\s*(?!${sections}\\b)(${PATH})(?=\\s*\\{)`, "variable.other.property"),
        ],
      },
      type: {
        patterns: [
          pair(`:\\s*(${any(words("type"))})\\b`, "support.type"),
          pair(`:\\s*(${PATH})`, "entity.name.type"),
          {
            match: `\\b(visible)\\s+(to)\\s+(${any(words("audience"))}(?:\\s*,\\s*${any(words("audience"))})*)\\b`,
            captures: captures(["keyword.other.clause", "keyword.other.clause", "support.constant.audience"]),
          },
        ],
      },
      case: { patterns: [one("constant.language", "\\b_\\b(?=\\s*=>)")] },
      stage: {
        patterns: [
          pair(`\\b(else)\\s+(${any(words("outcome"))})\\b`, "keyword.other.clause", "support.constant.outcome"),
          one("keyword.control.stage", `\\b${any(words("stage"))}\\b${goesOn}`),
        ],
      },
      mark: { patterns: [one("storage.modifier", `\\b${any(words("mark"))}\\b${noName}`)] },
      "operator-word": { patterns: [one("keyword.operator.word", `\\b${any(words("operator"))}\\b${noName}`)] },
      clause: { patterns: [one("keyword.other.clause", `\\b${any(clauses)}\\b${noName}`)] },
      literal: { patterns: [one("constant.language", `\\b${any(["true", "false"])}\\b`)] },
      call: { patterns: [one("entity.name.function.call", `\\b${NAME}(?=\\()|(?<!\\.)\\b${NAME}(?=\\s+\\{)`)] },
      sign: {
        patterns: [one("keyword.operator", "=>|>=|<=|==|!=|\\.\\.|[=<>+*/|?-]"), one("punctuation.separator", ",")],
      },
      hole: {
        patterns: [
          pair(`(\\|)\\s*(${any(words("filter"))})\\b`, "keyword.operator", "support.function.filter"),
          pair(`(\\|)\\s*(${NAME})`, "keyword.operator", "entity.name.function.call"),
          ...include("quantity", "string"),
          one("variable.parameter", `\\b${NAME}(?=\\s*=)`),
          one("variable.other", `\\b${PATH}`),
        ],
      },
      directive: {
        patterns: [
          one("keyword.control.directive", `\\b${any(words("directive"))}\\b`),
          one("keyword.operator.word", `\\b${any(["in", "is", "not", "known"])}\\b`),
          one("variable.other", `\\b${PATH}`),
        ],
      },
    },
  };
}
