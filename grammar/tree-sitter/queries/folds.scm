; What can be folded.
[
  (block)
  (statements)
  (cases)
  (list)
  (template)
  (rule)
] @fold
