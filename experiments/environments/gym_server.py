"""A server in the manner of AgentGym's: /create, /reset, /step, /observation, /close. Two rooms, a key and a door."""

import itertools
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

episodes, numbers = {}, itertools.count()


class Rooms:
    def reset(self, index):
        self.key, self.open = False, False
        return f"Room {index}. There is a door, and a key on the floor. Get out."

    def step(self, action):
        if action == "take key":
            self.key = True
            return "You have the key.", 0.0, False
        if action == "open door" and self.key:
            return "You are out.", 1.0, True
        return "Nothing happens.", 0.0, False


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, said):
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        if self.path == "/create":
            number = next(numbers)
            episodes[number] = Rooms()
            return self.answer({"id": number})
        rooms = episodes.get(asked.get("id"))
        if rooms is None:
            return self.answer({"error": "no such environment"})
        if self.path == "/reset":
            return self.answer({"observation": rooms.reset(asked["data_idx"])})
        if self.path == "/step":
            observation, reward, done = rooms.step(asked["action"])
            return self.answer({"observation": observation, "reward": reward, "done": done})
        del episodes[asked["id"]]
        return self.answer({})


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
