"""The plain fp32 graph of the peers: `torch.onnx.export` of transformers' BertModel, as most users make theirs.

    export.py MODEL_FOLDER plain.onnx

The exporter is the one by tracing, whose patterns onnxruntime's optimizer knows; attention is written out ("eager")
for the same reason. Last hidden states, no pooler; batch and length are free."""

import sys

import torch
from transformers import BertModel

INPUTS = ["input_ids", "attention_mask", "token_type_ids"]


class HiddenStates(torch.nn.Module):
    """Takes the inputs in that order and gives one tensor."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, token_type_ids):
        return self.model(input_ids, attention_mask, token_type_ids).last_hidden_state


def main():
    folder, path = sys.argv[1:]
    model = BertModel.from_pretrained(folder, attn_implementation="eager", add_pooling_layer=False).eval()
    ids = torch.randint(1000, 2000, (2, 16))
    torch.onnx.export(
        HiddenStates(model), (ids, torch.ones_like(ids), torch.zeros_like(ids)), path,
        input_names=INPUTS, output_names=["last_hidden_state"], opset_version=17, dynamo=False,
        dynamic_axes={name: {0: "batch", 1: "sequence"} for name in [*INPUTS, "last_hidden_state"]},
    )  # fmt: skip


if __name__ == "__main__":
    main()
