"""Greedy writing with Python's onnxruntime, the usual way: what one run gives as keys and values goes into the next as it is,
bound as OrtValues so that nothing is copied between Python and the library.

Reads prompts as ids, a line each, and prints seconds of the clock, of the processor, and ids. Started by `generation.rs`: MODEL.onnx TOKENS
"""

import sys
import time

import numpy
import onnxruntime


def main():
    path, tokens = sys.argv[1], int(sys.argv[2])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    pasts = [one.name for one in session.get_inputs() if one.name.startswith("past_")]
    shape = next(one.shape for one in session.get_inputs() if one.name == pasts[0])
    masked = any(one.name == "attention_mask" for one in session.get_inputs())
    value = onnxruntime.OrtValue.ortvalue_from_numpy

    def write(prompt):
        ids, read, written = numpy.array([prompt], dtype=numpy.int32), 0, []
        kept = {name: value(numpy.zeros((1, shape[1], 0, shape[3]), dtype=numpy.float32)) for name in pasts}
        while len(written) < tokens:
            binding = session.io_binding()
            read += ids.shape[1]
            binding.bind_cpu_input("input_ids", ids)
            if masked:
                binding.bind_cpu_input("attention_mask", numpy.ones((1, read), dtype=numpy.int32))
            binding.bind_cpu_input("logits_from", numpy.array([ids.shape[1] - 1], dtype=numpy.int64))
            for name, past in kept.items():
                binding.bind_ortvalue_input(name, past)
            for one in session.get_outputs():
                binding.bind_output(one.name)
            session.run_with_iobinding(binding)
            logits, *present = binding.get_outputs()
            kept = dict(zip(pasts, present))
            written.append(int(logits.numpy()[0, -1].argmax()))
            ids = numpy.array([[written[-1]]], dtype=numpy.int32)
        return written

    for line in sys.stdin:
        prompt = [int(word) for word in line.split()]
        started, busy = time.perf_counter(), time.process_time()
        written = write(prompt)
        print(time.perf_counter() - started, time.process_time() - busy, *written, flush=True)


if __name__ == "__main__":
    main()
