"""OpenAI's package for Python against the addresses of two servers; the second wants a key."""

import asyncio
import json
import sys

import openai

OPEN, KEYED = sys.argv[1:]
client = openai.OpenAI(base_url=OPEN, api_key="none", max_retries=0)
chat = client.chat.completions
TEXT = "Sätze are longer than words."
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "find_room",
            "description": "Finds a free room.",
            "parameters": {
                "type": "object",
                "properties": {"people": {"type": "integer"}, "day": {"type": "string"}},
                "required": ["people"],
            },
        },
    }
]


def user(text):
    return [{"role": "user", "content": text}]


def refused(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"not refused with {kind}")


# Models.
assert [it.id for it in client.models.list()] == ["model"]
assert client.models.retrieve("model").owned_by == "agx"

# A reply.
answer = chat.create(model="model", messages=user("Hello"), logprobs=True, top_logprobs=1, max_completion_tokens=99)
assert answer.object == "chat.completion" and answer.choices[0].message.content == TEXT
assert answer.choices[0].finish_reason == "stop" and len(answer.system_fingerprint) == 64
assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
assert "".join(it.token for it in answer.choices[0].logprobs.content) == TEXT
assert chat.create(model="model", messages=user("Hello"), stop="long").choices[0].message.content == "Sätze are "
assert chat.create(model="model", messages=user("Hello"), max_tokens=2).choices[0].finish_reason == "length"
parts = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "Hello"}]}]
assert chat.create(model="model", messages=parts).choices[0].message.content == TEXT

# A stream.
chunks = list(chat.create(model="model", messages=user("Hello"), stream=True, stream_options={"include_usage": True}))
assert "".join(it.choices[0].delta.content or "" for it in chunks if it.choices) == TEXT
assert len([it for it in chunks if it.choices and it.choices[0].delta.content]) > 3
assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == answer.usage.completion_tokens
with chat.stream(model="model", messages=user("Hello")) as stream:
    deltas = [event.delta for event in stream if event.type == "content.delta"]
    assert "".join(deltas) == TEXT == stream.get_final_completion().choices[0].message.content
# One that is left in the middle harms nobody.
for _ in chat.create(model="model", messages=user("Hello"), stream=True):
    break

# Tools, whole and streamed.
messages = user("a room for four")
message = chat.create(model="model", messages=messages, tools=TOOLS).choices[0].message
call = message.tool_calls[0]
assert call.function.name == "find_room" and json.loads(call.function.arguments) == {"people": 4, "day": "Monday"}
with chat.stream(model="model", messages=messages, tools=TOOLS) as stream:
    streamed = stream.get_final_completion().choices[0]
assert streamed.finish_reason == "tool_calls"
assert json.loads(streamed.message.tool_calls[0].function.arguments) == {"people": 4, "day": "Monday"}
messages += [message, {"role": "tool", "tool_call_id": call.id, "content": "Oak is free"}]
assert chat.create(model="model", messages=messages, tools=TOOLS).choices[0].message.content == "It is Oak."

# Seeds.
chosen = [chat.create(model="model", messages=user("choose"), seed=seed).choices[0].message.content for seed in range(16)]
assert len(set(chosen)) > 2


async def together():
    other = openai.AsyncOpenAI(base_url=OPEN, api_key="none", max_retries=0)
    calls = [other.chat.completions.create(model="model", messages=user("choose"), seed=seed) for seed in range(16)]
    return [answer.choices[0].message.content for answer in await asyncio.gather(*calls)]


assert asyncio.run(together()) == chosen
several = chat.create(model="model", messages=user("choose"), n=8, seed=1).choices
assert [it.index for it in several] == list(range(8)) and len({it.message.content for it in several}) > 1

# Refusals.
error = refused(openai.NotFoundError, lambda: chat.create(model="gpt-4", messages=user("Hello")))
assert error.code == "model_not_found"
refused(openai.NotFoundError, lambda: client.models.retrieve("gpt-4"))
refused(openai.NotFoundError, lambda: client.embeddings.create(model="model", input="x"))
wanted = {"type": "json_object"}
error = refused(openai.BadRequestError, lambda: chat.create(model="model", messages=user("Hi"), response_format=wanted))
assert error.param == "response_format"
error = refused(openai.BadRequestError, lambda: chat.create(model="model", messages=user("word " * 9000)))
assert error.code == "context_length_exceeded"
wrong = openai.OpenAI(base_url=KEYED, api_key="sk-wrong", max_retries=0)
refused(openai.AuthenticationError, lambda: wrong.models.list())
right = openai.OpenAI(base_url=KEYED, api_key="sk-right", max_retries=0)
assert right.chat.completions.create(model="model", messages=user("Hello")).choices[0].message.content == TEXT
