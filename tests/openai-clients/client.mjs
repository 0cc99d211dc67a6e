// OpenAI's package for Node.js against the addresses of two servers; the second wants a key.

import assert from 'node:assert/strict';
import OpenAI from 'openai';

const [open, keyed] = process.argv.slice(2);
const client = new OpenAI({ baseURL: open, apiKey: 'none', maxRetries: 0 });
const chat = client.chat.completions;
const model = 'model';
const TEXT = 'Sätze are longer than words.';
const user = (content) => [{ role: 'user', content }];
const tools = [
  {
    type: 'function',
    function: {
      name: 'find_room',
      parameters: { type: 'object', properties: { people: { type: 'integer' }, day: { type: 'string' } } },
    },
  },
];

// Models.
assert.deepEqual((await client.models.list()).data.map((it) => it.id), [model]);
assert.equal((await client.models.retrieve(model)).owned_by, 'agx');

// A reply.
const answer = await chat.create({ model, messages: user('Hello'), logprobs: true, top_logprobs: 1 });
assert.equal(answer.choices[0].message.content, TEXT);
assert.equal(answer.choices[0].logprobs.content.map((it) => it.token).join(''), TEXT);
assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);

// A stream.
let text = '';
let last;
for await (const chunk of await chat.create({ model, messages: user('Hello'), stream: true, stream_options: { include_usage: true } })) {
  text += chunk.choices[0]?.delta.content ?? '';
  last = chunk;
}
assert.equal(text, TEXT);
assert.equal(last.usage.completion_tokens, answer.usage.completion_tokens);
assert.equal(await chat.stream({ model, messages: user('Hello') }).finalContent(), TEXT);
// One that is left in the middle harms nobody.
for await (const _ of await chat.create({ model, messages: user('Hello'), stream: true })) break;

// Tools: the package calls the function and sends what it returned.
const asked = [];
const runner = chat.runTools({
  model,
  messages: user('a room for four'),
  tools: [
    {
      type: 'function',
      function: {
        ...tools[0].function,
        parse: JSON.parse,
        function: (given) => (asked.push(given), 'Oak is free'),
      },
    },
  ],
});
assert.equal(await runner.finalContent(), 'It is Oak.');
assert.deepEqual(asked, [{ people: 4, day: 'Monday' }]);
const streamed = await chat.stream({ model, messages: user('a room for four'), tools }).finalChatCompletion();
assert.equal(streamed.choices[0].finish_reason, 'tool_calls');
assert.deepEqual(JSON.parse(streamed.choices[0].message.tool_calls[0].function.arguments), { people: 4, day: 'Monday' });

// Seeds, one after the other and together.
const choose = async (seed) => (await chat.create({ model, messages: user('choose'), seed })).choices[0].message.content;
const chosen = [];
for (let seed = 0; seed < 16; seed += 1) chosen.push(await choose(seed));
assert.ok(new Set(chosen).size > 2);
assert.deepEqual(await Promise.all(chosen.map((_, seed) => choose(seed))), chosen);

// Refusals.
const refused = (status, call) => assert.rejects(call, (error) => error instanceof OpenAI.APIError && error.status === status);
await refused(404, () => chat.create({ model: 'gpt-4', messages: user('Hello') }));
await refused(404, () => client.embeddings.create({ model, input: 'x' }));
await refused(400, () => chat.create({ model, messages: user('Hello'), response_format: { type: 'json_object' } }));
await refused(400, () => chat.create({ model, messages: user('Hello'), tools, tool_choice: 'required' }));
await refused(401, () => new OpenAI({ baseURL: keyed, apiKey: 'sk-wrong', maxRetries: 0 }).models.list());
const right = new OpenAI({ baseURL: keyed, apiKey: 'sk-right', maxRetries: 0 });
assert.equal((await right.chat.completions.create({ model, messages: user('Hello') })).choices[0].message.content, TEXT);
