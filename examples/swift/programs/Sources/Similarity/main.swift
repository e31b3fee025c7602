// Finds the text that is closest to the first one.
//
//   Similarity BUNDLE ONNXRUNTIME_LIBRARY "query" "text" ...
//
// For a bundle of the task "sentence-embedding".

import Foundation
import Limbeck

let arguments = CommandLine.arguments
if arguments.count < 5 {
    FileHandle.standardError.write(Data("usage: Similarity BUNDLE ONNXRUNTIME_LIBRARY \"query\" \"text\" ...\n".utf8))
    exit(2)
}
do {
    let model = try Model(Environment(runtimePath: arguments[2]), path: arguments[1])
    let query = try model.embed(arguments[3]).vector
    let texts = Array(arguments.dropFirst(4))
    let vectors = try model.embed(batch: texts).map(\.vector)
    for found in try nearest(to: query, in: vectors, k: texts.count) {
        print("\(found.similarity)  \(texts[found.index])")
    }
} catch {
    FileHandle.standardError.write(Data("\(error)\n".utf8))
    exit(1)
}
