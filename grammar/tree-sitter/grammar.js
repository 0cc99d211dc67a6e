/**
 * The `.agx` language for editors. `../agx.pest` is the truth; this grammar reads the same files and keeps going where
 * they are broken. Its words come from `../words.json`: a word that is not there, or is never used, is an error here.
 *
 * Layout: a line's end is white space. Where it matters, the scanner (`src/scanner.c`) decides: a name before `=`, `:` or
 * `{` is a key and not a unit or an operator, a block that was never closed ends where the next item begins, and a string
 * at the end of its line.
 */

/// <reference types="tree-sitter-cli/dsl" />

const table = require("../words.json");
const wordsOf = (name) => table.classes.find((group) => group.class === name).words.map((entry) => entry.word);

const IN_GRAMMAR = ["item", "part", "statement", "stage", "clause", "operator", "literal", "mark", "directive", "unit"];
const unused = new Set(IN_GRAMMAR.flatMap(wordsOf));
const known = new Set(unused);

/** A word of the language, which must be in the table. */
function word(text) {
  if (!known.has(text)) throw new Error(`\`${text}\` is not in words.json`);
  unused.delete(text);
  return text;
}
const anyOf = (...texts) => choice(...texts.map(word));

const comma = (rule) => seq(rule, repeat(seq(",", rule)));
const commaEnd = (rule) => seq(comma(rule), optional(","));
const entries = ($, ...rules) => closed($, "{", repeat(seq(choice(...rules), optional(","))), "}");
/** What stands between two brackets; the second may have been forgotten. */
const closed = ($, open, inside, close) => seq(open, inside, choice(close, $.unclosed));

/** Weakest first; as in `src/syntax/build/block.rs`. */
const STRENGTH = { or: 1, and: 2, not: 3, compare: 4, postfix: 5, range: 6, add: 7, multiply: 8, negative: 9 };

const rules = {
  file: ($) => repeat($._item),

  // ── items ──────────────────────────────────────────────────────────────────────────────────────────────────────────
  _item: ($) =>
    choice(
      $.edition,
      $.import,
      $.param,
      $.constant,
      $.declaration,
      $.prompt,
      $.rule,
      $.experiment,
      $.matrix,
    ),

  edition: ($) => seq(word("agx"), field("year", $.number), optional($.unstable)),
  unstable: ($) => seq(word("unstable"), "(", optional(commaEnd($.identifier)), ")"),
  import: ($) =>
    seq(
      word("import"),
      field("path", $.string),
      choice(seq(word("as"), field("name", $.identifier)), seq("{", commaEnd(field("name", $.identifier)), "}")),
    ),
  param: ($) =>
    seq(word("param"), field("name", $.identifier), ":", field("type", $.type), "=", field("default", $._expression)),
  constant: ($) => seq(word("let"), field("name", $.identifier), "=", field("value", $._expression)),
  declaration: ($) =>
    seq(
      field("kind", anyOf("env", "dataset", "model", "critic", "trainer")),
      field("name", $.identifier),
      field("body", $.block),
    ),
  prompt: ($) =>
    seq(
      word("prompt"),
      field("name", $.identifier),
      field("parameters", $.parameters),
      field("body", alias($._prompt_body, $.block)),
    ),
  _prompt_body: ($) => entries($, $.message),
  message: ($) => seq(field("role", $.identifier), field("text", $.template)),
  rule: ($) =>
    seq(
      word("rule"),
      field("name", $.identifier),
      field("parameters", optional($.parameters)),
      "=",
      optional("|"),
      $._stage,
      repeat(seq("|", $._stage)),
    ),
  experiment: ($) =>
    seq(word("experiment"), field("name", $.identifier), field("body", alias($._experiment_body, $.block))),
  _experiment_body: ($) => entries($, $.schedule, $.report, $.field, $._in_experiment),
  schedule: ($) => seq(word("schedule"), field("body", $.statements)),
  report: ($) => seq(word("report"), field("body", alias($._report_body, $.block))),
  _report_body: ($) => entries($, $.report_line),
  report_line: ($) =>
    seq(field("form", anyOf("plot", "table")), comma($.path), optional(seq(word("by"), field("index", $.identifier)))),
  matrix: ($) =>
    seq(
      word("matrix"),
      field("name", $.identifier),
      word("of"),
      field("of", $.identifier),
      field("body", alias($._matrix_body, $.block)),
    ),
  _matrix_body: ($) => entries($, $.axis, $.zip, $.except),
  axis: ($) => seq(field("path", $.path), word("in"), field("values", $._expression)),
  zip: ($) => seq(word("zip"), alias($._zip_body, $.block)),
  _zip_body: ($) => entries($, $.axis),
  except: ($) => seq(word("except"), $.block),

  // ── blocks of fields, types ────────────────────────────────────────────────────────────────────────────────────────
  block: ($) => entries($, $.field),
  field: ($) =>
    seq(
      field("name", $.key),
      choice(seq("=", field("value", $._value)), seq(":", field("type", $.type)), field("body", $.block)),
    ),
  _value: ($) =>
    seq($._expression, optional(seq(word("by"), field("by", $.identifier))), optional(field("mark", $.mark))),
  mark: (_) => word("held_out"),

  parameters: ($) => closed($, "(", optional(commaEnd($.parameter)), ")"),
  parameter: ($) => seq(field("name", $.identifier), ":", field("type", $.type)),
  type: ($) =>
    seq(
      $._type_name,
      optional(seq(word("in"), field("within", $._expression))),
      optional(seq("<=", field("limit", $._expression))),
      optional(seq(word("by"), field("by", $.identifier))),
      optional($.visible),
    ),
  _type_name: ($) => seq(field("name", $.type_name), optional(seq("<", $._type_name, ">")), optional("?")),
  type_name: ($) => seq($.identifier, repeat(seq($._dot, $.identifier))),
  visible: ($) => seq(word("visible"), word("to"), comma(field("audience", $.identifier))),

  // ── rules ──────────────────────────────────────────────────────────────────────────────────────────────────────────
  _stage: ($) =>
    choice(
      $.where,
      $.top,
      $.best,
      $.worst,
      $.sample,
      $.dedup,
      $.majority,
      $.cap,
      $.balance,
      $.add,
      $.pair,
      $.truncate,
      $.weight,
      $.require,
    ),
  where: ($) => seq(word("where"), $._expression),
  top: ($) => seq(word("top"), $._amount, optional($._per_task), $._by_columns, optional($.block)),
  best: ($) => seq(word("best"), $._amount, optional($._per_task), $._by_columns),
  worst: ($) => seq(word("worst"), $._amount, optional($._per_task), $._by_columns),
  sample: ($) => seq(word("sample"), $._amount, optional($._per_task)),
  dedup: ($) => seq(word("dedup"), $._by_columns),
  majority: ($) => seq(word("majority"), $._by_columns),
  cap: ($) => seq(word("cap"), $._amount, optional(alias(word("tokens"), $.unit))),
  balance: ($) => seq(word("balance"), $._by_columns, word("max"), $._amount),
  add: ($) => seq(word("add"), $.path, optional($.block)),
  pair: ($) =>
    seq(
      word("pair"),
      word("best"),
      word("with"),
      word("worst"),
      $._per_task,
      $._by_columns,
      optional(seq(word("margin"), $._at_least)),
    ),
  truncate: ($) => seq(word("truncate"), $.path, word("to"), $._expression),
  weight: ($) => seq(word("weight"), word("by"), $._expression),
  require: ($) => seq(word("require"), $._at_least, optional(seq(word("else"), field("otherwise", $.identifier)))),
  _at_least: ($) => seq(word("at"), word("least"), $._amount),
  _per_task: ($) => seq(word("per"), word("task")),
  _by_columns: ($) => seq(word("by"), comma($.path)),

  // ── the schedule ───────────────────────────────────────────────────────────────────────────────────────────────────
  statements: ($) => entries($, $._statement),
  _statement: ($) => choice($.let, $._operation),
  let: ($) => seq(word("let"), field("name", $.identifier), "=", field("value", $._operation)),
  _operation: ($) =>
    choice($.rollout, $.judge, $.select, $.audit, $.calibrate, $.train, $.evaluate, $.repeat, $.pick),
  rollout: ($) => seq(word("rollout"), field("model", $._slot), word("in"), field("split", $.path), optional($.block)),
  judge: ($) => seq(word("judge"), field("rows", $._slot), word("with"), field("critic", $.path), optional($.block)),
  select: ($) =>
    seq(word("select"), field("rows", $._slot), word("by"), field("rule", $.path), optional($.arguments)),
  audit: ($) => seq(word("audit"), field("rows", $._slot), optional(seq(word("against"), field("metric", $.path)))),
  calibrate: ($) => seq(word("calibrate"), field("critic", $.path), word("on"), field("dataset", $._slot)),
  train: ($) => seq(word("train"), field("model", $.path), word("on"), field("rows", $._slot), repeat($._clause)),
  _clause: ($) =>
    choice(
      seq(word("mixed"), word("with"), $._amount, field("dataset", $.path)),
      seq(word("through"), field("critic", $.path)),
      seq(word("with"), field("trainer", $.path)),
      seq(word("from"), field("from", $.version)),
      seq(word("reference"), field("reference", $.version)),
    ),
  evaluate: ($) => seq(word("evaluate"), field("model", $._slot), word("on"), field("split", $._slot), optional($.block)),
  repeat: ($) =>
    seq(
      word("repeat"),
      field("times", $._expression),
      word("times"),
      optional(seq(word("as"), field("index", $.identifier))),
      field("body", $.statements),
      optional(seq(word("until"), field("until", $._expression))),
    ),
  pick: ($) =>
    seq(
      word("pick"),
      field("model", $.path),
      word("best"),
      word("by"),
      field("metric", $.path),
      optional(seq(word("including"), comma($.path))),
    ),

  // ── expressions ────────────────────────────────────────────────────────────────────────────────────────────────────
  _expression: ($) =>
    choice(
      $.quantity,
      $.template,
      $.string,
      $.boolean,
      $.cases,
      $.list,
      $.group,
      $.apply,
      $.unary,
      $.binary,
      $.is_known,
      $.stalls,
    ),
  unary: ($) =>
    choice(
      prec(STRENGTH.not, seq(field("operator", word("not")), $._expression)),
      prec(STRENGTH.negative, seq(field("operator", "-"), $._expression)),
    ),
  binary: ($) =>
    choice(
      ...[
        ["or", word("or")],
        ["and", word("and")],
        ["compare", choice(">=", "<=", "==", "!=", ">", "<", word("in"))],
        ["range", ".."],
        ["add", choice("+", "-")],
        ["multiply", choice("*", "/")],
      ].map(([strength, operator]) =>
        prec.left(
          STRENGTH[strength],
          seq(field("left", $._expression), field("operator", operator), field("right", $._expression)),
        ),
      ),
    ),
  is_known: ($) => prec(STRENGTH.postfix, seq($._expression, word("is"), optional(word("not")), word("known"))),
  stalls: ($) =>
    prec.right(
      STRENGTH.postfix,
      seq(
        $._expression,
        word("stalls"),
        field("times", $._amount),
        optional(seq(word("by"), field("margin", $._amount))),
        optional(seq(word("since"), field("since", $.path))),
      ),
    ),
  group: ($) => closed($, "(", $._expression, ")"),
  list: ($) => closed($, "[", optional(commaEnd($._expression)), "]"),
  cases: ($) => closed($, "{", commaEnd($.case), "}"),
  case: ($) => seq(field("when", choice($.otherwise, $._expression)), "=>", field("value", $._expression)),
  otherwise: (_) => word("_"),
  apply: ($) =>
    choice(
      prec.right($._slot),
      prec.right(
        seq(
          field("function", $.path),
          optional($.version),
          choice(seq($.arguments, optional($.block)), $.block),
        ),
      ),
    ),
  arguments: ($) => closed($, "(", optional(commaEnd($.argument)), ")"),
  argument: ($) => seq(optional(seq(field("name", $.identifier), "=")), field("value", $._expression)),

  /** What a stage or a clause counts with. */
  _amount: ($) => choice(alias($._number, $.quantity), $.group, alias($._amount_apply, $.apply)),
  _number: ($) => seq($.number, optional($.percent)),
  _amount_apply: ($) => choice($._slot, seq(field("function", $.path), optional($.version), $.arguments)),
  quantity: ($) => prec.right(seq($._number, optional($.unit), optional(seq(word("per"), field("per", $.identifier))))),
  unit: (_) => anyOf(...wordsOf("unit")),
  percent: (_) => token.immediate("%"),

  _slot: ($) => prec.right(seq($.path, optional($.version))),
  version: ($) =>
    prec.right(seq("@", choice($.number, seq($.identifier, optional(seq(token.immediate("("), $.path, ")")))))),
  path: ($) => seq($.identifier, repeat(seq($._dot, $.identifier))),
  _dot: (_) => token.immediate("."),

  boolean: (_) => anyOf("true", "false"),
  string: ($) =>
    seq('"', repeat(choice($.string_text, $.escape, $._in_string)), choice(token.immediate('"'), $.unclosed)),
  string_text: (_) => token.immediate(prec(1, /[^"\\\r\n]+/)),
  escape: (_) => token.immediate(/\\(u\{[0-9A-Fa-f]*\}|[^\r\n])/),
  number: (_) => /[0-9][0-9_]*(\.[0-9][0-9_]*)?([eE][+-]?[0-9]+)?/,
  identifier: (_) => /[A-Za-z_][A-Za-z0-9_]*/,

  // ── text blocks ────────────────────────────────────────────────────────────────────────────────────────────────────
  template: ($) =>
    seq(
      $.template_start,
      repeat(choice($.template_text, $.interpolation, $.directive)),
      choice($.template_end, $.unclosed),
    ),
  interpolation: ($) =>
    seq(alias($._hole_start, "{{"), $.path, repeat(seq("|", $.filter)), alias($._hole_end, "}}")),
  filter: ($) => seq(field("name", $.identifier), optional($.arguments)),
  directive: ($) =>
    seq(
      alias($._directive_start, "{%"),
      choice(
        seq(word("for"), field("name", $.identifier), word("in"), field("list", $.path)),
        seq(word("if"), $.path, word("is"), optional(word("not")), word("known")),
        word("end"),
      ),
      alias($._directive_end, "%}"),
    ),

  // ── comments ───────────────────────────────────────────────────────────────────────────────────────────────────────
  comment: (_) => token(choice(/\/\/([^\/!\r\n][^\r\n]*)?/, /\/\/\/\/[^\r\n]*/)),
  doc_comment: (_) => /\/\/\/([^\/\r\n][^\r\n]*)?/,
  file_comment: (_) => /\/\/![^\r\n]*/,
};

module.exports = grammar({
  name: "agx",
  word: ($) => $.identifier,
  extras: ($) => [/[ \t\r\n\uFEFF]/, $.comment, $.doc_comment, $.file_comment],
  // In the order of `enum Token` in src/scanner.c.
  externals: ($) => [
    $.key,
    $.unclosed,
    $.template_start,
    $.template_text,
    $._hole_start,
    $._hole_end,
    $._directive_start,
    $._directive_end,
    $.template_end,
    // Never given: valid where the scanner must know that it is in an experiment or in a string, or that the parser has
    // lost its way.
    $._in_experiment,
    $._in_string,
    $._lost,
  ],
  reserved: { global: (_) => table.reserved },
  supertypes: ($) => [$._item, $._stage, $._statement, $._expression],
  // A comma that may go on with the list or with the block: what follows tells.
  conflicts: ($) => [[$.report_line], [$.visible], [$.pick]],
  rules,
});

if (unused.size > 0) throw new Error(`words that no rule uses: ${[...unused].join(", ")}`);
