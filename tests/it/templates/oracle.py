"""What Jinja2 makes of the templates beside this file, set up as `_compile_jinja_template` of transformers does."""

import json
import random
import sys
from pathlib import Path

import jinja2
import jinja2.ext
from blake3 import blake3
from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = Path(__file__).parent
CONVERSATIONS, EXPECTED = HERE / "conversations.json", HERE / "expected.json"


class Raised(Exception):
    """A template's own `raise_exception`."""


class AssistantTracker(jinja2.ext.Extension):
    """`{% generation %}`: a call block, as transformers has it."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_generation_support"), [], [], body).set_lineno(line)

    @jinja2.pass_eval_context
    def _generation_support(self, context, caller):
        return caller()


def raise_exception(message):
    raise Raised(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[AssistantTracker, jinja2.ext.loopcontrols]
    )
    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = raise_exception
    return made  # without `strftime_now`: no template is told the date


TEXTS = [
    "Hello, world.", "", "  spaced out \n", "two\nlines\n\nand a third", 'She said "no" & left', "it's <b>bold</b>",
    "naïve café — ünïcödé 日本語 🎉", "tab\there \\ back\\slash", "{% not jinja %} {{ neither }} {# nor #}", "42", "-7",
    "<think>\nlet me see\n</think>\n\nthe answer is 3.", "a" * 40, "/no_think please", "zero\u200bwidth \u00a0nbsp",
    "line\r\nwindows\rmac", "{\"json\": [1, 2.0]}", "o'clock \"both\" quotes", "<|im_end|> [INST] </s>", "ẞ straße ŒUVRE ﬁne",
    "1e5", "e\u0301 combining", "  \t ", "UPPER lower Title-case they're", "\x7f\x1b control", "trailing newline\n",
]
NUMBERS = [0, 1, -1, 42, 1.0, -0.0, 0.1, 1e-7, 1e22, 1.5e300, 123456789.125, 1e16, 9007199254740993, 2**63 - 1, -(2**63),
           2**64 - 1, 1e-5, 0.0001, 100000.0, 5e-324]


def value(rng, depth=0):
    kind = rng.randrange(8 if depth < 3 else 5)
    if kind == 0:
        return rng.choice(NUMBERS)
    if kind == 1:
        return rng.choice([True, False, None])
    if kind < 5:
        return rng.choice(TEXTS)
    if kind == 5:
        return [value(rng, depth + 1) for _ in range(rng.randrange(4))]
    names = ["b", "a", "items", "keys", "é", "type", "name", "with space", "Z", "values"]
    rng.shuffle(names)
    return {name: value(rng, depth + 1) for name in names[: rng.randrange(4)]}


def tool(rng, index):
    schema = {
        "city": {"type": "string", "description": rng.choice(TEXTS)},
        "unit": {"type": "string", "enum": ["celsius", "it's"], "default": "celsius"},
        "days": {"type": "integer", "default": 1.0},
        "tags": {"type": "array", "items": {"type": "string"}, "nullable": True},
        "where": {"type": "object", "properties": {"lat": {"type": "number"}, "ok": {"type": "boolean"}}, "required": ["lat"]},
        "either": {"type": ["string", "null"]},
        "items": {"type": "array", "items": {"type": "object", "additionalProperties": {"type": "number"}}},
        "one": {"oneOf": [{"type": "string", "description": "d", "default": "é"}, {"type": "number"}]},
    }
    names = list(schema)
    rng.shuffle(names)
    names = names[: rng.randrange(len(names) + 1)]
    function = {"name": f"get_{index}", "description": rng.choice(TEXTS),
                "parameters": {"type": "object", "properties": {name: schema[name] for name in names}, "required": names[:1]}}
    if rng.randrange(3) == 0:
        function["return"] = {"type": rng.choice(["string", "number", "object"])}
    return {"type": "function", "function": function}


def content(rng, kind):
    if kind == "parts" and rng.randrange(2):
        parts = [{"type": "text", "text": rng.choice(TEXTS)}, {"type": "image"}, {"type": "text", "text": rng.choice(TEXTS)}]
        return parts[: rng.randrange(1, 4)]
    if kind == "odd" and rng.randrange(3) == 0:
        return rng.choice([None, 3, 2.5, 1e22, True, {"a": [1.0, None]}, [], ""])
    return rng.choice(TEXTS)


def conversation(rng, number):
    kind = ["plain", "tools", "parts", "odd"][number % 4]
    messages = []
    if number % 3 == 0:
        messages.append({"role": "system", "content": rng.choice(TEXTS)})
    for turn in range(rng.randrange(1, 4)):
        messages.append({"role": "user", "content": content(rng, kind)})
        if kind == "tools" and rng.randrange(3):
            calls = []
            for _ in range(rng.choice([1, 1, 2])):
                arguments = {name: value(rng) for name in ["city", "n", "items"][: rng.randrange(4)]}
                if number % 8 == 5:
                    arguments = json.dumps(arguments)
                calls.append({"id": f"call{rng.randrange(10**5):05}", "type": "function",
                              "function": {"name": f"get_{turn}", "arguments": arguments}})
            said = rng.choice([None, "", "I will look."])
            messages.append({"role": "assistant", "content": said, "tool_calls": calls})
            for call in calls:
                result = rng.choice([json.dumps(value(rng)), rng.choice(TEXTS), {"temp": 1.0, "ok": True}])
                messages.append({"role": "tool", "tool_call_id": call["id"], "name": "get_0", "content": result})
        if rng.randrange(5) or turn == 0:
            messages.append({"role": "assistant", "content": content(rng, kind)})
            if kind == "odd" and rng.randrange(3) == 0:
                messages[-1]["reasoning_content"] = rng.choice(TEXTS)
    if rng.randrange(2) and messages[-1]["role"] == "assistant" and "tool_calls" not in messages[-1]:
        messages.pop()
    made = {"messages": messages, "tools": None, "documents": None, "add_generation_prompt": rng.randrange(3) > 0,
            "bos_token": "<s>", "eos_token": "</s>"}
    if kind == "tools":
        made["tools"] = [tool(rng, index) for index in range(rng.randrange(1, 4))]
    if number % 5 == 0:
        made["documents"] = [{"title": rng.choice(TEXTS), "text": rng.choice(TEXTS), "score": rng.choice(NUMBERS)} for _ in range(2)]
    if number % 2:
        made["date_string"] = "30 Nov 2026"
    if number % 7 == 0:
        made["enable_thinking"] = made["thinking"] = number % 2 == 0
        made["controls"] = {"length": "long", "é": 1.0}
    if number == 9:
        made["tools_in_user_message"] = False
    return made


def read(path):
    return environment().from_string(path.read_text(encoding="utf-8"))


def one(template, variables):
    """What comes of it: a text, or how it raises."""
    try:
        return template.render(**variables), None
    except Raised as error:
        return None, {"raises": str(error)}
    except Exception:  # noqa: BLE001 -- whatever Python says: that it fails is what is held
        return None, {"fails": True}


def main():
    wanted = sys.argv[1:]
    if "--new" in wanted:
        made = [conversation(random.Random(number), number) for number in range(32)]
        lines = ",\n".join(json.dumps(each, ensure_ascii=False) for each in made)
        CONVERSATIONS.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    conversations = json.loads(CONVERSATIONS.read_text(encoding="utf-8"))
    if "--show" in wanted:
        name, number = wanted[1:]
        sys.stdout.write(read(HERE / f"{name}.jinja").render(**conversations[int(number)]))
        return
    lines = []
    for path in sorted(HERE.glob("*.jinja")):
        template, outcomes, shown = read(path), [], None
        for variables in conversations:
            text, problem = one(template, variables)
            if text is not None:
                shown = shown or {"number": len(outcomes), "text": text}
                problem = {"bytes": len(text.encode()), "blake3": blake3(text.encode()).hexdigest()[:32]}
            outcomes.append(problem)
        assert shown, f"{path.name} renders nothing"
        dense = ",\n".join(json.dumps(outcome, ensure_ascii=False) for outcome in outcomes)
        lines.append(f'{json.dumps(path.stem)}: {{"shown": {json.dumps(shown, ensure_ascii=False)}, "outcomes": [\n{dense}\n]}}')
    fresh = "{\n" + ",\n".join(lines) + "\n}\n"
    if "--check" in wanted:
        if EXPECTED.read_text(encoding="utf-8") != fresh:
            sys.exit("tests/it/templates/expected.json is not what Jinja2 makes of the templates: run tests/templates")
        rendered, all_of_them = fresh.count('"bytes"'), fresh.count('"bytes"') + fresh.count('"raises"') + fresh.count('"fails"')
        print(f"{len(lines)} templates, {all_of_them} pairs, {rendered} of them texts: as Jinja2 {jinja2.__version__} has them")
    else:
        EXPECTED.write_text(fresh, encoding="utf-8")


main()
