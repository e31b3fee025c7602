"""Peers of limbeck in Python: ONNX Runtime with the graphs that its users have. Run by `cargo xtask bench peers`.

    peers.py prepare --plain plain.onnx --out FOLDER     the optimized graph, and that one in int8
    peers.py serve --model FILE --tokenizer FILE --threads N
                                                         answers lines of JSON (README.md)
"""

import argparse
import json
import sys
import time


def prepare(options):
    """onnxruntime's own way: its transformer optimizer, then dynamic quantization. Prints what was fused."""
    from collections import Counter
    from pathlib import Path

    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers import optimizer

    out = Path(options.out)
    # The shape of all-MiniLM-L6-v2. Level 0 leaves to the session what the session does anyway.
    model = optimizer.optimize_model(options.plain, model_type="bert", num_heads=12, hidden_size=384, opt_level=0)
    fused = {name: count for name, count in model.get_fused_operator_statistics().items() if count}
    model.save_model_to_file(str(out / "optimized.onnx"))
    quantize_dynamic(
        out / "optimized.onnx", out / "optimized-int8.onnx", per_channel=True, weight_type=QuantType.QInt8,
        # Shape inference does not know what onnxruntime's own operators give.
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )  # fmt: skip
    nodes = onnx.load(out / "optimized-int8.onnx", load_external_data=False).graph.node
    print(json.dumps({"fused": fused, "int8": Counter(node.op_type for node in nodes)}))


class Model:
    """A graph with its tokenizer: text in to vector out."""

    def __init__(self, options, libraries):
        self.numpy, onnxruntime, tokenizers = libraries
        self.tokenizer = tokenizers.Tokenizer.from_file(options.tokenizer)
        self.tokenizer.enable_truncation(512)
        self.tokenizer.enable_padding()
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = options.threads
        self.session = onnxruntime.InferenceSession(options.model, settings, providers=["CPUExecutionProvider"])
        kinds = {"tensor(int32)": self.numpy.int32, "tensor(int64)": self.numpy.int64}
        self.inputs = [(each.name, kinds[each.type]) for each in self.session.get_inputs()]

    def embed(self, texts):
        """Vectors of length 1 and the numbers of tokens."""
        numpy = self.numpy
        read = self.tokenizer.encode_batch(texts)
        rows = {
            "input_ids": [row.ids for row in read],
            "attention_mask": [row.attention_mask for row in read],
            "token_type_ids": [row.type_ids for row in read],
        }
        output = self.session.run(None, {name: numpy.array(rows[name], kind) for name, kind in self.inputs})[0]
        if output.ndim == 3:  # hidden states; else the graph pools and normalizes
            mask = numpy.array(rows["attention_mask"], numpy.float32)[:, :, None]
            output = (output * mask).sum(1) / mask.sum(1)
            output = output / numpy.linalg.norm(output, axis=1, keepdims=True)
        return output, [sum(row) for row in rows["attention_mask"]]


def memory():
    """Resident and anonymous memory of this process in MB; None where the system does not tell."""
    found = {"resident_mb": None, "private_mb": None}
    names = {"VmRSS:": "resident_mb", "RssAnon:": "private_mb"}
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            for line in status:
                words = line.split()
                if words[0] in names:
                    found[names[words[0]]] = int(words[1]) * 1024 / 1e6
    except OSError:
        pass
    return found


def timed(call):
    """What a call gives, and its milliseconds."""
    started = time.perf_counter()
    result = call()
    return result, (time.perf_counter() - started) * 1e3


def serve(options):
    """The protocol."""

    def load():
        import numpy
        import onnxruntime
        import tokenizers

        return numpy, onnxruntime, tokenizers

    libraries, import_ms = timed(load)
    _, onnxruntime, tokenizers = libraries
    model = None
    for line in sys.stdin:
        request = json.loads(line)
        if "open" in request:
            before = memory()
            model, open_ms = timed(lambda: Model(options, libraries))
            opened = memory()
            (_, tokens), first_ms = timed(lambda: model.embed(request["open"]["texts"]))
            answer = {
                "import_ms": import_ms, "open_ms": open_ms, "first_ms": first_ms,
                "before": before, "opened": opened, "answered": memory(), "tokens": tokens,
                "versions": {
                    "onnxruntime (Python)": onnxruntime.__version__,
                    "tokenizers (Python)": tokenizers.__version__,
                    "Python": "%d.%d.%d" % sys.version_info[:3],
                },
            }  # fmt: skip
        else:
            request = request["embed"]
            times = []
            for call in range(request["calls"]):
                (vectors, tokens), milliseconds = timed(lambda: model.embed(request["texts"]))
                times.append(milliseconds)
                if call == 0:
                    first = vectors.tolist() if request["vectors"] else None
            answer = {"ms": times, "tokens": tokens, "vectors": first}
        print(json.dumps(answer), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("prepare")
    verb.add_argument("--plain", required=True)
    verb.add_argument("--out", required=True)
    verb.set_defaults(run=prepare)
    verb = verbs.add_parser("serve")
    verb.add_argument("--model", required=True)
    verb.add_argument("--tokenizer", required=True)
    verb.add_argument("--threads", type=int, default=1)
    verb.set_defaults(run=serve)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
