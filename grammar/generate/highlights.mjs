// Turns the table of words into tree-sitter's highlights. Later patterns win.

const list = (words) => `[\n${words.map((word) => `  "${word}"`).join("\n")}\n]`;

export function highlights(words) {
  const operators = words("operator");
  const keywords = words("item", "part", "statement", "stage", "clause", "directive").filter(
    (word) => !operators.includes(word),
  );
  return `; Made by ../../generate.mjs: \`grammar/test --write\` writes it.

; ── names ────────────────────────────────────────────────────────────────────
(path
  .
  (identifier) @variable
  (identifier)* @property)

(key) @property

(argument
  name: (identifier) @variable.parameter)

(parameter
  name: (identifier) @variable.parameter)

(apply
  function: (path
    (identifier) @function.call .))

(filter
  name: (identifier) @function.call)

(type_name
  (identifier) @type)

((type_name
  .
  (identifier) @type.builtin .)
  (#any-of? @type.builtin ${words("type")
    .map((word) => `"${word}"`)
    .join(" ")}))

(declaration
  name: (identifier) @type.definition)

(prompt
  name: (identifier) @function)

(rule
  name: (identifier) @function)

(experiment
  name: (identifier) @type.definition)

(matrix
  name: (identifier) @type.definition
  of: (identifier) @type)

(param
  name: (identifier) @constant)

(constant
  name: (identifier) @constant)

(import
  name: (identifier) @module)

(let
  name: (identifier) @variable)

(repeat
  index: (identifier) @variable)

(directive
  name: (identifier) @variable)

(report_line
  index: (identifier) @variable)

(message
  role: (identifier) @label)

(visible
  audience: (identifier) @attribute)

(version
  "@" @constant.builtin
  (identifier) @constant.builtin)

(version
  "@" @constant.builtin
  (number) @constant.builtin)

(require
  otherwise: (identifier) @constant.builtin)

(unstable
  (identifier) @attribute)

; ── values ───────────────────────────────────────────────────────────────────
(number) @number

(percent) @number

(unit) @type.builtin

(quantity
  per: (identifier) @type.builtin)

(boolean) @boolean

(otherwise) @constant.builtin

(mark) @attribute

(string) @string

(escape) @string.escape

; ── text blocks ──────────────────────────────────────────────────────────────
[
  (template_start)
  (template_text)
  (template_end)
] @string

(interpolation
  [
    "{{"
    "}}"
    "|"
  ] @punctuation.special)

(directive
  [
    "{%"
    "%}"
  ] @punctuation.special)

; ── signs and words ──────────────────────────────────────────────────────────
[
  "="
  ">="
  "<="
  "=="
  "!="
  ">"
  "<"
  ".."
  "+"
  "-"
  "*"
  "/"
  "=>"
  "?"
] @operator

(rule
  "|" @operator)

[
  "{"
  "}"
  "("
  ")"
  "["
  "]"
] @punctuation.bracket

[
  ","
  ":"
] @punctuation.delimiter

${list(keywords)} @keyword

${list(operators)} @keyword.operator

; ── comments ─────────────────────────────────────────────────────────────────
(comment) @comment

[
  (doc_comment)
  (file_comment)
] @comment.documentation
`;
}
