; What a name inside a prompt, a rule or a schedule refers to.
[
  (prompt)
  (rule)
  (experiment)
  (repeat)
] @local.scope

(parameter
  name: (identifier) @local.definition)

(let
  name: (identifier) @local.definition)

(repeat
  index: (identifier) @local.definition)

(directive
  name: (identifier) @local.definition)

(path
  .
  (identifier) @local.reference)
