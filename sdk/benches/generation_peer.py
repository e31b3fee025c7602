"""Greedy writing with Python's onnxruntime, with what Python has to avoid copies: keys and values are OrtValues that are bound and
never come to Python. Where the graph keeps them in buffers they are bound as input and output at once; where it has them grow, what
one run gives goes into the next as it is.

Reads lines of a number of tokens and the ids of a prompt. Prints for each, in seconds of the clock and of the processor, the time to
the first token and that of all others, and the ids. Started by `generation.rs`: MODEL.onnx ROOM
"""

import sys
import time

import numpy
import onnxruntime

value = onnxruntime.OrtValue.ortvalue_from_numpy


class Writer:
    def __init__(self, path, room):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        inputs = {one.name: one.shape for one in self.session.get_inputs()}
        self.pasts = [name for name in inputs if name.startswith("past_")]
        self.presents = [name.replace("past_", "present_") for name in self.pasts]
        self.buffers = "position_ids" in inputs
        self.masked, self.chooses = "attention_mask" in inputs, "logits_from" in inputs
        self.logits = next(one.name for one in self.session.get_outputs() if one.name not in self.presents)
        heads, size = inputs[self.pasts[0]][1], inputs[self.pasts[0]][3]
        self.empty = (1, heads, room if self.buffers else 0, size)
        self.kept = {}
        self.start()

    def start(self):
        """What lies in buffers beyond the tokens that were read does not matter: they are made once."""
        if not (self.buffers and self.kept):
            self.kept = {name: value(numpy.zeros(self.empty, dtype=numpy.float32)) for name in self.pasts}

    def step(self, ids, read):
        """The likeliest token after `ids`, before which `read` tokens were read."""
        binding, length = self.session.io_binding(), ids.shape[1]
        binding.bind_cpu_input("input_ids", ids)
        if self.buffers:
            binding.bind_cpu_input("position_ids", numpy.arange(read, read + length, dtype=numpy.int32)[None])
        if self.masked:
            binding.bind_cpu_input("attention_mask", numpy.ones((1, read + length), dtype=numpy.int32))
        if self.chooses:
            binding.bind_cpu_input("logits_from", numpy.array([length - 1], dtype=numpy.int64))
        binding.bind_output(self.logits)
        for past, present in zip(self.pasts, self.presents):
            binding.bind_ortvalue_input(past, self.kept[past])
            if self.buffers:
                binding.bind_ortvalue_output(present, self.kept[past])
            else:
                binding.bind_output(present)
        self.session.run_with_iobinding(binding)
        outputs = binding.get_outputs()
        if not self.buffers:
            self.kept = dict(zip(self.pasts, outputs[1:]))
        return int(outputs[0].numpy()[0, -1].argmax())

    def write(self, prompt, tokens):
        clocks = [(time.perf_counter(), time.process_time())]
        self.start()
        written = [self.step(numpy.array([prompt], dtype=numpy.int32), 0)]
        clocks.append((time.perf_counter(), time.process_time()))
        while len(written) < tokens:
            ids = numpy.array([[written[-1]]], dtype=numpy.int32)
            written.append(self.step(ids, len(prompt) + len(written) - 1))
        clocks.append((time.perf_counter(), time.process_time()))
        between = [[after - before for before, after in zip(*pair)] for pair in zip(clocks, clocks[1:])]
        return between[0] + between[1], written


def main():
    writer = Writer(sys.argv[1], int(sys.argv[2]))
    for line in sys.stdin:
        tokens, *prompt = [int(word) for word in line.split()]
        seconds, written = writer.write(prompt, tokens)
        print(*seconds, *written, flush=True)


if __name__ == "__main__":
    main()
