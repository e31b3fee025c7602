"""Writes the tiny model of the sdk's tests: `python make_graph.py` in this folder.

Needs the PyPI packages onnx (1.23.2 was used) and numpy. What it computes:

    x = table[input_ids]                      [batch, length, H]
    x = tanh(x @ mix), DEPTH times            (one shared matrix; many nodes, so
                                               that ending a run early can be seen)
    logits = mean over unmasked tokens of x @ head

tiny.onnx      the graph; its weights are external, in `model.onnx.data`
tiny.data      those weights
wide.onnx      the same graph with a table of WIDE rows; tests make its weights
folded.onnx    another graph, whose weights ONNX Runtime computes with while it
               loads: a table in half precision, and a convolution that it
               fuses with the multiplication after it
folded.data    its weights
tokenizer.json a WordPiece tokenizer of the BERT kind
expected.json  logits for some texts, computed by numpy, not by ONNX Runtime
"""

import json

import numpy as np
from onnx import TensorProto, helper

HIDDEN, DEPTH, LABELS, WIDE, CHANNELS = 32, 120, 3, 400_000, 160
WORDS = """the a good bad film was not very great awful ##ly ##s crisp screen battery quick slow brown fox
I it is and or but best worst ! . , ' - e m o j i p l a y ##ed ##ing zero one two three""".split()
VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + list(dict.fromkeys(w.lower() for w in WORDS))


def external(name, shape, offset, element=TensorProto.FLOAT, size=4):
    size *= int(np.prod(shape))
    tensor = TensorProto(name=name, data_type=element, dims=shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "model.onnx.data", "offset": str(offset), "length": str(size)}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor, offset + size


def model(nodes, initializers):
    """The nodes up to `token_logits`, then their mean over unmasked tokens."""
    nodes = nodes + [
        helper.make_node("Cast", ["attention_mask"], ["mask2"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask2", "last"], ["mask"]),
        helper.make_node("Mul", ["token_logits", "mask"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "one"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["mask", "one"], ["count"], keepdims=0),
        helper.make_node("Div", ["sum", "count"], ["logits"]),
    ]
    constants = [
        helper.make_tensor("last", TensorProto.INT64, [1], [2]),
        helper.make_tensor("one", TensorProto.INT64, [1], [1]),
    ]
    inputs = ("input_ids", "attention_mask")
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.INT32, ["batch", "length"]) for name in inputs],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", LABELS])],
        initializers + constants,
    )
    opset = [helper.make_opsetid("", 17)]
    made = helper.make_model(graph, opset_imports=opset, ir_version=8, producer_name="make_graph.py")
    return made.SerializeToString(deterministic=True)


def tiny(rows):
    table, offset = external("table", [rows, HIDDEN], 0)
    mix, offset = external("mix", [HIDDEN, HIDDEN], offset)
    head, offset = external("head", [HIDDEN, LABELS], offset)
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["x0"])]
    for i in range(DEPTH):
        nodes.append(helper.make_node("MatMul", [f"x{i}", "mix"], [f"m{i}"]))
        nodes.append(helper.make_node("Tanh", [f"m{i}"], [f"x{i + 1}"]))
    nodes.append(helper.make_node("MatMul", [f"x{DEPTH}", "head"], ["token_logits"]))
    return model(nodes, [table, mix, head])


def folded():
    # The table has 300 rows so that it is large enough to be shared otherwise.
    table, offset = external("table", [300, HIDDEN], 0, TensorProto.FLOAT16, 2)
    filters, offset = external("filters", [CHANNELS, HIDDEN, 1], offset)
    scale, offset = external("scale", [CHANNELS, 1], offset)
    head, offset = external("head", [CHANNELS, LABELS], offset)
    nodes = [
        helper.make_node("Cast", ["table"], ["table32"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["table32", "input_ids"], ["x"]),
        helper.make_node("Transpose", ["x"], ["xt"], perm=[0, 2, 1]),
        helper.make_node("Conv", ["xt", "filters"], ["c"], kernel_shape=[1]),
        helper.make_node("Mul", ["c", "scale"], ["d"]),
        helper.make_node("Transpose", ["d"], ["dt"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["dt", "head"], ["token_logits"]),
    ]
    return model(nodes, [table, filters, scale, head])


def main():
    random = np.random.default_rng(7)
    table = random.normal(size=(len(VOCAB), HIDDEN)).astype("<f4")
    # A rotation made a little longer: tanh keeps it from growing, and 120 steps
    # neither die out nor settle.
    mix = (np.linalg.qr(random.normal(size=(HIDDEN, HIDDEN)))[0] * 1.2).astype("<f4")
    head = random.normal(size=(HIDDEN, LABELS)).astype("<f4")
    with open("tiny.data", "wb") as file:
        file.write(table.tobytes() + mix.tobytes() + head.tobytes())
    table16 = random.normal(size=(300, HIDDEN)).astype("<f2")
    filters = (random.normal(size=(CHANNELS, HIDDEN)) / 6).astype("<f4")
    scale = random.normal(size=(CHANNELS, 1)).astype("<f4")
    head2 = (random.normal(size=(CHANNELS, LABELS)) / 6).astype("<f4")
    with open("folded.data", "wb") as file:
        file.write(table16.tobytes() + filters.tobytes() + scale.tobytes() + head2.tobytes())
    for name, graph in (("tiny.onnx", tiny(len(VOCAB))), ("wide.onnx", tiny(WIDE)), ("folded.onnx", folded())):
        with open(name, "wb") as file:
            file.write(graph)

    special = [
        {"id": i, "content": VOCAB[i], "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": True}
        for i in range(5)
    ]
    tokenizer = {
        "version": "1.0",
        # Both must be switched off by the sdk: the tests would fail with them on.
        "truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 16}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
                    "pad_type_id": 0, "pad_token": "[PAD]"},
        "added_tokens": special,
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                       {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
            "pair": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                     {"SpecialToken": {"id": "[SEP]", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}},
                     {"SpecialToken": {"id": "[SEP]", "type_id": 1}}],
            "special_tokens": {
                token: {"id": token, "ids": [VOCAB.index(token)], "tokens": [token]} for token in ("[CLS]", "[SEP]")
            },
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": {token: i for i, token in enumerate(VOCAB)}},
    }
    with open("tokenizer.json", "w", encoding="utf-8") as file:
        json.dump(tokenizer, file, indent=1)
        file.write("\n")

    # Texts of whole words of the vocabulary, so that their ids are plain here.
    cases = []
    for text in ["the film was great !", "a very bad film .", "", "it is not the worst , but slow and awful"]:
        ids = [VOCAB.index(t) for t in ["[CLS]", *text.split(), "[SEP]"]]
        x = table[ids].astype(np.float64)
        for _ in range(DEPTH):
            x = np.tanh(x @ mix)
        y = table16[ids].astype(np.float64) @ (filters * scale).T.astype(np.float64)
        logits = {"logits": (x @ head).mean(axis=0).tolist(), "folded": (y @ head2).mean(axis=0).tolist()}
        cases.append({"text": text, "ids": ids, **logits})
    with open("expected.json", "w", encoding="utf-8") as file:
        json.dump(cases, file, indent=1)
        file.write("\n")


main()
