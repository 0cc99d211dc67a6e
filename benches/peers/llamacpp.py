"""llama.cpp's side of `benches/peers/run`: by its C interface, one batch a step, greedy, no server between.

Rollouts go by the generator behind its Python server, with no HTTP between: one request at a time, each going on from the longest
prefix that the last one left, an episode to its end before the next, the samples of a task side by side. No order suits that better.
"""

import argparse
import itertools
import json
import time

import llama_cpp as llama
import numpy

from work import NEW, PROMPT, REPLY, SAMPLES, TASKS, TURNS, begun, prompts, told


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("work")
    parser.add_argument("--model", required=True)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, required=True)
    asked = parser.parse_args()
    if asked.work == "rollouts":
        print(json.dumps({"tokens_per_s": rollouts(asked)}))
        return
    # Named, so that it lives as long as it may be called.
    silent = llama.llama_log_callback(lambda *_: None)
    llama.llama_log_set(silent, None)
    llama.llama_backend_init()
    parameters = llama.llama_model_default_params()
    parameters.n_gpu_layers = 0
    model = llama.llama_model_load_from_file(asked.model.encode(), parameters)
    settings = llama.llama_context_default_params()
    settings.n_seq_max = asked.batch
    settings.n_ctx = (PROMPT + NEW) * asked.batch
    settings.n_batch = settings.n_ctx
    settings.n_threads = settings.n_threads_batch = asked.threads
    context = llama.llama_init_from_model(model, settings)
    vocabulary = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
    batch = llama.llama_batch_init(PROMPT * asked.batch, 0, 1)

    def decode(rows, position):
        """Each row's tokens from a position on; gives the likeliest next token of each."""
        batch.n_tokens = 0
        last = []
        for sequence, row in enumerate(rows):
            for offset, token in enumerate(row):
                at = batch.n_tokens
                batch.token[at], batch.pos[at], batch.n_seq_id[at] = token, position + offset, 1
                batch.seq_id[at][0], batch.logits[at] = sequence, offset + 1 == len(row)
                batch.n_tokens += 1
            last.append(batch.n_tokens - 1)
        if llama.llama_decode(context, batch) != 0:
            raise SystemExit("llama_decode failed")
        logits = (llama.llama_get_logits_ith(context, at) for at in last)
        return [int(numpy.ctypeslib.as_array(row, (vocabulary,)).argmax()) for row in logits]

    def prefill(round):
        llama.llama_memory_clear(llama.llama_get_memory(context), True)
        start = time.perf_counter()
        first = decode(prompts(round, asked.batch), 0)
        return first, time.perf_counter() - start

    prefill(0)
    if asked.work == "prefill":
        print(json.dumps({"tokens_per_s": asked.batch * PROMPT / prefill(1)[1]}))
        return
    newest, _ = prefill(0)
    start = time.perf_counter()
    reply = [newest[0]]
    for position in range(PROMPT, PROMPT + NEW - 1):
        newest = decode([[token] for token in newest], position)
        reply.append(newest[0])
    seconds = time.perf_counter() - start
    print(json.dumps({"tokens_per_s": asked.batch * NEW / seconds, "reply": reply}))


def rollouts(asked):
    threads = {"n_threads": asked.threads, "n_threads_batch": asked.threads}
    model = llama.Llama(asked.model, n_ctx=1024, n_batch=1024, verbose=False, **threads)
    drawn = {"temp": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "repeat_penalty": 1.0}
    sampled, start = 0, time.perf_counter()
    for episode in range(TASKS * SAMPLES):
        prompt = begun(episode)
        for turn in range(TURNS):
            reply = list(itertools.islice(model.generate(prompt, **drawn), REPLY))
            sampled += len(reply)
            prompt = prompt + reply + told(episode, turn)
    return sampled / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
