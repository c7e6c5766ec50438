"""Trains a cross-encoder with sentence-transformers' CrossEncoderTrainer, told and asked by crossrank train.

Lines of JSON: what is told comes on standard input, what is said goes to standard output. What libraries print goes to
standard error. `machine` says what there is, `model FOLDER METHOD ADAPTER` what a model is, `train TASK` trains.
"""

import importlib.metadata
import importlib.util
import json
import math
import os
import sys
import time

out = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)


def say(event, **facts):
    out.write(json.dumps({"event": event, **facts}) + "\n")
    out.flush()


def hear():
    line = sys.stdin.readline()
    if line == "":
        sys.exit(3)
    return json.loads(line)


def machine():
    wanted = ["torch", "transformers", "sentence_transformers", "accelerate", "datasets", "peft"]
    missing = [name for name in wanted if importlib.util.find_spec(name) is None]
    if "torch" in missing:
        say("machine", versions={}, missing=missing, device="CPU", bf16=False)
        return
    import torch

    names = [name for name in wanted if name not in missing]
    versions = {name: importlib.metadata.version(name.replace("_", "-")) for name in names}
    device, bf16 = "CPU", False
    if torch.cuda.is_available():
        device, bf16 = torch.cuda.get_device_name(0), torch.cuda.is_bf16_supported()
    elif torch.backends.mps.is_available():
        device = "MPS"
    say("machine", versions=versions, missing=missing, device=device, bf16=bf16)


TARGETS = {
    "query": ["query", "query_proj", "q_proj"],
    "key": ["key", "key_proj", "k_proj"],
    "value": ["value", "value_proj", "v_proj"],
    "output": ["attention.output.dense", "o_proj"],
    "up": ["intermediate.dense", "up_proj"],
    "gate": ["gate_proj"],
    "down": ["output.dense", "down_proj"],
}


# What configurations call the chances of a model's own dropouts.
CHANCES = [
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "classifier_dropout",
    "embedding_dropout",
    "attention_dropout",
    "mlp_dropout",
]


def open_model(folder, max_tokens=None, dropout="model"):
    """`dropout`: a chance for all of the model's own dropouts, or "model" for those of its configuration."""
    from sentence_transformers import CrossEncoder
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    own = {} if dropout == "model" else {name: dropout for name in CHANCES if hasattr(config, name)}
    return CrossEncoder(folder, max_length=max_tokens, local_files_only=True, config_kwargs=own)


def with_adapters(model, lora):
    """Adapters on the matrices that the targets name; the head is trained in whole."""
    import torch
    from peft import LoraConfig, get_peft_model

    inner = model.model
    chosen = []
    for name, module in inner.named_modules():
        if not isinstance(module, torch.nn.Linear):
            continue
        for target in lora["targets"]:
            if target == "down" and name.endswith("attention.output.dense"):
                continue
            if any(name == end or name.endswith("." + end) for end in TARGETS[target]):
                chosen.append(name)
    if not chosen:
        raise ValueError(f"the model has no matrix for the targets {', '.join(lora['targets'])}")
    heads = [name for name in ("classifier", "score", "head") if hasattr(inner, name)]
    config = LoraConfig(
        task_type="SEQ_CLS",
        r=lora["rank"],
        lora_alpha=lora["alpha"],
        lora_dropout=lora["dropout"],
        target_modules=chosen,
        modules_to_save=heads,
    )
    return get_peft_model(inner, config)


def count(parameters):
    return sum(parameter.numel() for parameter in parameters)


def describe(folder, method, adapter):
    model = open_model(folder)
    inner = model.model
    total = count(inner.parameters())
    if method == "lora":
        inner = with_adapters(model, adapter)
    trained = count(p for p in inner.parameters() if p.requires_grad)
    family = getattr(model.model.config, "model_type", "unknown")
    say("model", family=family, labels=model.num_labels, parameters=total, trained=trained)


def train(task):
    import torch
    from datasets import load_dataset
    from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
    from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss
    from transformers import TrainerCallback, set_seed

    config = task["config"]
    if task["threads"]:
        torch.set_num_threads(task["threads"])
    set_seed(config["seed"] % 2**32)
    model = open_model(task["model"], config["maxTokens"], config["dropout"])
    inner = model.model
    # It puts the adapters into the model where that is.
    adapted = with_adapters(model, task["lora"]) if task["lora"] else None
    trained = {name: p for name, p in inner.named_parameters() if p.requires_grad}
    data = load_dataset(
        "json", data_files=task["data"], split="train", cache_dir=os.path.join(task["checkpoint"], "data")
    )
    per_epoch = -(-task["examples"] // (config["batchSize"] * config["accumulation"]))
    steps = min(per_epoch * config["epochs"], config["maxSteps"] or 10**12)
    every = config.get("evaluateEvery") or per_epoch
    keeping = os.path.join(task["checkpoint"], "torch")
    arguments = CrossEncoderTrainingArguments(
        output_dir=keeping,
        per_device_train_batch_size=config["batchSize"],
        gradient_accumulation_steps=config["accumulation"],
        max_steps=steps,
        learning_rate=config["learningRate"],
        warmup_steps=math.ceil(config["warmup"] * steps),
        lr_scheduler_type=config["schedule"],
        weight_decay=config["weightDecay"],
        max_grad_norm=config["clip"],
        seed=config["seed"] % 2**31,
        bf16=config["dtype"] == "bfloat16",
        gradient_checkpointing=config["gradientCheckpointing"],
        logging_strategy="steps",
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    state = {"best": 0, "stopped": False, "tokens": 0, "ms": 0.0, "begin": 0.0, "kept": None}

    def keep(step):
        state["best"] = step
        state["kept"] = {name: p.detach().to("cpu", copy=True) for name, p in trained.items()}

    def evaluate(step):
        """The pairs come from crossrank, and what is concluded from their scores as well."""
        if not task["evaluates"]:
            keep(step)
            return False
        before = torch.get_rng_state()
        model.eval()
        say("held-out", step=step)
        while True:
            message = hear()
            if "decision" in message:
                break
            pairs = message["score"]
            scores = model.predict(
                [tuple(pair) for pair in pairs], activation_fn=torch.nn.Identity(), show_progress_bar=False
            )
            say("scores", values=[float(score) for score in scores])
        model.train()
        torch.set_rng_state(before)
        if message["decision"]["best"]:
            keep(step)
        return message["decision"]["stop"]

    class Telling(TrainerCallback):
        def on_step_begin(self, args, current, control, **_):
            state["begin"] = time.perf_counter()

        def on_log(self, args, current, control, logs=None, **_):
            if not logs or "loss" not in logs:
                return
            step = current.global_step
            if logs["loss"] != logs["loss"]:
                raise FloatingPointError(f"at step {step} the loss is {logs['loss']}")
            say(
                "progress",
                step=step,
                steps=steps,
                epoch=step / per_epoch,
                loss=float(logs["loss"]),
                learningRate=float(logs.get("learning_rate", 0)),
                gradientNorm=float(logs.get("grad_norm", 0)),
                tokens=state["tokens"],
                trainingMs=state["ms"],
                examples=step * config["batchSize"] * config["accumulation"],
            )
            if (step % every == 0 or step == steps) and evaluate(step):
                state["stopped"] = step < steps
                control.should_training_stop = True

        def on_step_end(self, args, current, control, **_):
            state["ms"] += (time.perf_counter() - state["begin"]) * 1000

    trainer = CrossEncoderTrainer(
        model=model, args=arguments, train_dataset=data, loss=BinaryCrossEntropyLoss(model)
    )

    def count_tokens(module, args):
        features = args[0] if args else {}
        mask = features.get("attention_mask")
        if module.training and mask is not None:
            state["tokens"] += int(mask.sum())

    # Of the whole: the library calls the model inside past its hooks.
    model.register_forward_pre_hook(count_tokens)
    say("start", step=0, steps=steps)
    evaluate(0)
    trainer.add_callback(Telling())
    trainer.train()
    done = trainer.state.global_step
    with torch.no_grad():
        for name, value in (state["kept"] or {}).items():
            trained[name].copy_(value)
    write(task, inner, adapted)
    say(
        "done",
        steps=done,
        bestStep=state["best"],
        stoppedEarly=state["stopped"],
        tokens=state["tokens"],
        trainingMs=state["ms"],
        trained=count(trained.values()),
    )


def write(task, base, adapted):
    """The adapter as PEFT writes it, and a folder like the base's with the weights by the base's names."""
    import shutil

    from safetensors import safe_open
    from safetensors.torch import save_file

    if adapted is not None:
        adapted.save_pretrained(task["adapter"])
        base = adapted.merge_and_unload()
    state = base.state_dict()
    os.makedirs(task["merged"])
    for name in os.listdir(task["model"]):
        if name in COMPANIONS:
            shutil.copyfile(os.path.join(task["model"], name), os.path.join(task["merged"], name))
    for name in task["weights"]:
        path = os.path.join(task["model"], name)
        with safe_open(path, framework="pt") as file:
            stored = {key: file.get_slice(key).get_dtype() for key in file.keys()}
            tensors = {}
            for key in stored:
                old = file.get_tensor(key)
                own = state.get(key)
                if own is None or own.shape != old.shape:
                    tensors[key] = old
                else:
                    tensors[key] = own.detach().to("cpu", old.dtype).contiguous().clone()
            unknown = [key for key in state if key not in stored and not key.endswith("position_ids")]
        if len(task["weights"]) == 1 and unknown:
            raise ValueError(f"the base's file has other names than the trained model: {unknown[0]}")
        save_file(tensors, os.path.join(task["merged"], name), metadata={"format": "pt"})
    index = "model.safetensors.index.json"
    if os.path.exists(os.path.join(task["model"], index)):
        shutil.copyfile(os.path.join(task["model"], index), os.path.join(task["merged"], index))


COMPANIONS = {
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "spm.model",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
}


def main():
    what, *args = sys.argv[1:]
    try:
        if what == "machine":
            machine()
        elif what == "model":
            describe(args[0], args[1], json.loads(args[2]))
        else:
            with open(args[0], encoding="utf-8") as file:
                train(json.load(file))
    except Exception as error:  # noqa: BLE001: every failure has to reach crossrank with its name
        text = f"{type(error).__name__}: {error}".split("\n")[0]
        memory = "out of memory" in text.lower() or isinstance(error, MemoryError)
        reason = "memory" if memory else "diverged" if isinstance(error, FloatingPointError) else "runtime"
        import traceback

        traceback.print_exc()
        say("failed", reason=reason, problem=text)
        sys.exit(1)


main()
