"""PyTorch's side of `benches/peers/run`: transformers and PEFT, as agx.rs in the arguments and the line of JSON."""

import argparse
import json
import time

import peft
import torch
import transformers

from work import LENGTHS, NEW, PROMPT, STEPS, prompts

LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("work")
    parser.add_argument("--model", required=True)
    parser.add_argument("--dtype", default="f32")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, required=True)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[asked.dtype]
    model = transformers.LlamaForCausalLM.from_pretrained(asked.model, dtype=dtype)
    if asked.work in LENGTHS:
        print(json.dumps({"tokens_per_s": train(model, *LENGTHS[asked.work], asked.work == "train-lora")}))
    else:
        print(json.dumps(generate(model.eval(), asked.batch, asked.work == "prefill")))


@torch.inference_mode()
def generate(model, batch, only_prefill):
    def prefill(round):
        start = time.perf_counter()
        out = model(torch.tensor(prompts(round, batch)), use_cache=True, logits_to_keep=1)
        return out, time.perf_counter() - start

    prefill(0)
    if only_prefill:
        return {"tokens_per_s": batch * PROMPT / prefill(1)[1]}
    out, _ = prefill(0)
    start = time.perf_counter()
    replies = [out.logits[:, -1].argmax(-1)]
    while len(replies) < NEW:
        out = model(replies[-1][:, None], past_key_values=out.past_key_values, use_cache=True)
        replies.append(out.logits[:, -1].argmax(-1))
    seconds = time.perf_counter() - start
    return {"tokens_per_s": batch * NEW / seconds, "reply": [int(reply[0]) for reply in replies]}


def train(model, batch, length, lora):
    if lora:
        config = peft.LoraConfig(r=16, lora_alpha=32, target_modules=LINEARS, task_type="CAUSAL_LM")
        model = peft.get_peft_model(model, config)
    model.train()
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-4, weight_decay=0.0)
    ends = []
    for step in range(STEPS):
        rows = torch.tensor(prompts(step, batch, length))
        model(input_ids=rows, labels=rows).loss.backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        ends.append(time.perf_counter())
    return (STEPS - 1) * batch * length / (ends[-1] - ends[0])


if __name__ == "__main__":
    main()
