#!/usr/bin/env python3
"""Times API-Bank's own Python on the work of `cargo bench --bench api_bank`: recorded calls replayed, gold replies evaluated.

    benches/api_bank_original.py ORIGINAL DATA

ORIGINAL is a checkout of `api-bank/` of github.com/AlibabaResearch/DAMO-ConvAI, DATA the copy of the data that
`AGX_API_BANK_DIR` names. It wants `nltk`, `rank_bm25`, `rouge` and `numpy`. What asks a network or a sentence encoder is left
out on both sides of the ratio: searches, and the tools named below.
"""

import contextlib
import copy
import io
import json
import os
import pathlib
import sys
import time
import types

NETWORK = {"ToolSearcher", "Dictionary", "Translate", "Wiki"}


def stubs():
    """Modules that are imported by what is left out."""
    for name, members in {"sentence_transformers": ["SentenceTransformer", "util"], "googletrans": ["Translator"],
                          "requests": [], "utils": ["ChatGPTWrapper", "DavinciWrapper", "GPT4Wrapper"], "tqdm": ["tqdm"]}.items():
        module = types.ModuleType(name)
        for member in members:
            setattr(module, member, type(member, (), {}))
        sys.modules[name] = module


def dialogues(data):
    for level in ("level-1-given-desc", "level-2-toolsearcher"):
        for path in sorted((data / "lv1-lv2-samples" / level).glob("*.jsonl")):
            yield [json.loads(line) for line in path.read_text().splitlines() if line]


def replay(manager, each):
    """Calls of dialogues, each dialogue from a fresh copy of the databases; only the calls are timed."""
    count, spent = 0, 0.0
    databases, tools = copy.deepcopy(manager.init_databases), {}
    for turns in each:
        for name, database in copy.deepcopy(databases).items():
            manager.init_databases[name] = database
        for api in manager.apis:
            if "init_database" in api:
                api["init_database"] = manager.init_databases[api["class"].database_name]
        manager.inited_tools = tools.copy()
        manager.token_checker = manager.init_tool("CheckToken")
        calls = [turn for turn in turns if turn["role"] == "API" and turn["api_name"] not in NETWORK]
        start = time.perf_counter()
        for turn in calls:
            try:
                manager.api_call(turn["api_name"], **turn["param_dict"])
            except Exception:
                pass
        spent += time.perf_counter() - start
        count += len(calls)
    return count, spent


def evaluate(evaluator, each):
    """Every row by the original's evaluator, answered by its own gold."""
    count = right = 0
    start = time.perf_counter()
    for turns in each:
        judge = evaluator.Evaluator(evaluator.Sample.from_chat_history(turns))
        for row in judge.get_all_sample_ids():
            gold = judge.dataset[row].ground_truth
            if gold["role"] == "AI":
                judge.evaluate(row, gold["text"])
            elif gold["role"] == "API" and gold["api_name"] not in NETWORK:
                said = ", ".join(f"{name}={value!r}" for name, value in gold["param_dict"].items())
                right += judge.evaluate(row, f"[{gold['api_name']}({said})]")[0] is True
            else:
                continue
            count += 1
    return count, right, time.perf_counter() - start


def main():
    original, data = map(pathlib.Path, sys.argv[1:])
    data = data.resolve()
    os.chdir(original)
    sys.path.insert(0, ".")
    stubs()
    with contextlib.redirect_stdout(io.StringIO()):
        import evaluator
        import tool_manager
        manager = tool_manager.ToolManager()
        each = list(dialogues(data))
        replay(manager, each)
        count, spent = min((replay(manager, each) for _ in range(5)), key=lambda it: it[1])
        rows, right, seconds = evaluate(evaluator, each)
    print(f"calls:    {count} in {spent * 1e3:.1f} ms, {count / spent:,.0f} a second")
    print(f"evaluate: {rows} rows of levels 1 and 2 ({right} calls correct) in {seconds:.2f} s, {rows / seconds:,.0f} a second")


if __name__ == "__main__":
    main()
