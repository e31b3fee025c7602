// Classifies texts with a bundle, and says how sure it is and how long it took.
//
//   Sentiment BUNDLE ONNXRUNTIME_LIBRARY "text" ...
//
// bindings/swift/README.md says how to run it.

import Foundation
import Limbeck

let arguments = CommandLine.arguments
if arguments.count < 4 {
    FileHandle.standardError.write(Data("usage: Sentiment BUNDLE ONNXRUNTIME_LIBRARY \"text\" ...\n".utf8))
    exit(2)
}
do {
    let model = try Model(Environment(runtimePath: arguments[2]), path: arguments[1])
    try model.warmUp()
    for text in arguments.dropFirst(3) {
        let found = try model.classify(text)
        guard let best = found.best else { continue }
        let usage = found.usage
        let nanoseconds = usage.tokenizeNanoseconds + usage.inferenceNanoseconds + usage.postNanoseconds
        let numbers = String(format: "%.3f  %2d tokens  %.2f ms", best.probability, usage.tokensUsed, Double(nanoseconds) / 1e6)
        print("\(best.label)  \(numbers)  \(text)")
    }
} catch {
    FileHandle.standardError.write(Data("\(error)\n".utf8))
    exit(1)
}
