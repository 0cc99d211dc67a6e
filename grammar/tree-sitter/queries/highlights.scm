; Made by ../../generate.mjs: `grammar/test --write` writes it.

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
  (#any-of? @type.builtin "int" "float" "ratio" "text" "bool" "tokens" "duration" "money" "memory"))

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

[
  "agx"
  "import"
  "param"
  "let"
  "env"
  "dataset"
  "model"
  "prompt"
  "critic"
  "rule"
  "trainer"
  "experiment"
  "matrix"
  "unstable"
  "schedule"
  "report"
  "plot"
  "table"
  "zip"
  "except"
  "rollout"
  "judge"
  "select"
  "audit"
  "calibrate"
  "train"
  "evaluate"
  "repeat"
  "pick"
  "where"
  "top"
  "best"
  "worst"
  "sample"
  "dedup"
  "majority"
  "cap"
  "balance"
  "add"
  "pair"
  "truncate"
  "weight"
  "require"
  "with"
  "by"
  "per"
  "on"
  "from"
  "mixed"
  "through"
  "reference"
  "against"
  "times"
  "as"
  "until"
  "including"
  "since"
  "of"
  "else"
  "at"
  "least"
  "max"
  "margin"
  "task"
  "to"
  "visible"
  "for"
  "if"
  "end"
] @keyword

[
  "or"
  "and"
  "not"
  "in"
  "is"
  "known"
  "stalls"
] @keyword.operator

; ── comments ─────────────────────────────────────────────────────────────────
(comment) @comment

[
  (doc_comment)
  (file_comment)
] @comment.documentation
