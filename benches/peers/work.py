"""What all sides do, and on which tokens: the numbers of agx.rs once more."""

PROMPT = 256
NEW = 64
STEPS = 4
# Rows of a batch, and tokens of a row.
LENGTHS = {"train": (16, 256), "train-lora": (2, 512)}


# Of rollouts: tokens that all prompts begin with, of a task, of a reply, of what a tool says.
SHARED, TASK, REPLY, TOOL = 600, 40, 24, 16
TASKS, SAMPLES, TURNS = 32, 8, 4


def mixed(seed: int, at: int) -> int:
    """Some token below 256: which one matters to nobody's speed."""
    value = (seed * 0x9E3779B97F4A7C15 + at * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) % 2**64
    value ^= value >> 31
    return (value * 0xD6E8FEB86659FD93 % 2**64) >> 56


def begun(episode: int) -> list[int]:
    """The first prompt of an episode."""
    return [mixed(0, at) for at in range(SHARED)] + [mixed(1 + episode // SAMPLES, at) for at in range(TASK)]


def told(episode: int, turn: int) -> list[int]:
    """What a tool says after a turn."""
    return [mixed(1000 + episode * TURNS + turn, at) for at in range(TOOL)]


def prompts(round: int, batch: int, length: int = PROMPT) -> list[list[int]]:
    return [[mixed(round * batch + row, at) for at in range(length)] for row in range(batch)]
