#!/usr/bin/env python3
"""An environment by `process`, to copy from: a machine that sells one thing at a time.

A line of JSON asks, a line answers. What an agent may see stands in a task's fields; what decides whether it is solved stays here.
Anything printed to stderr is shown when the program ends before its time.
"""

import json
import sys

SHELF = {"A1": "water", "A2": "juice", "B1": "nuts", "B2": "crisps"}
TOOLS = [
    {"name": "look", "parameters": {"type": "object", "properties": {}}},
    {"name": "press", "parameters": {"type": "object", "properties": {"slot": {"type": "string"}}, "required": ["slot"]}},
]


def tasks():
    things = sorted(SHELF.values())
    for split, count in (("train", 24), ("dev", 8), ("test", 8)):
        for at in range(count):
            wanted = things[at % len(things)]
            yield {"id": f"{split}-{at:02}", "split": split, "request": f"Buy {wanted}.", "wanted": wanted}


class Episode:
    def __init__(self, task):
        self.wanted = {row["id"]: row["wanted"] for row in tasks()}[task]
        self.bought = []

    def call(self, name, arguments):
        if name == "look":
            return "On the shelf: " + ", ".join(f"{slot} {thing}" for slot, thing in SHELF.items())
        if name == "press" and arguments.get("slot") in SHELF:
            self.bought.append(SHELF[arguments["slot"]])
            return f"Out comes: {self.bought[-1]}."
        return f"error: {name} does not take {json.dumps(arguments)}"

    def metrics(self):
        return {"success": self.bought == [self.wanted], "thrift": 1.0 if len(self.bought) <= 1 else 0.0}


def answer(asked, episodes):
    if asked["op"] == "tasks":
        return {"tasks": list(tasks())}
    episode = asked.get("episode", "")
    if asked["op"] == "reset":
        # `asked["seed"]` is there for whatever draws.
        episodes[episode] = Episode(asked["task"])
        return {"episode": episode, "tools": TOOLS}
    if asked["op"] == "close":
        episodes.pop(episode, None)
        return {"episode": episode}
    state = episodes[episode]
    if "call" in asked:
        said, done = state.call(asked["call"]["name"], asked["call"]["arguments"]), False
    else:
        said, done = "", True
    return {"episode": episode, "observation": said, "done": done, "metrics": state.metrics()}


def main():
    episodes = {}
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["op"] == "close" and "episode" not in asked:
            break
        print(json.dumps(answer(asked, episodes)), flush=True)


if __name__ == "__main__":
    main()
