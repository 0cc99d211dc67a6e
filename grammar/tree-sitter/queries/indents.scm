; What stands further in than the line it begins on.
[
  (block)
  (statements)
  (cases)
  (list)
  (group)
  (arguments)
  (parameters)
  (rule)
] @indent.begin

[
  "}"
  ")"
  "]"
] @indent.branch @indent.end

; A text block is indented by whoever writes it: its margin is part of what it means.
(template) @indent.ignore
