// Finds names in texts, and says where they stand.
//
//   Entities BUNDLE ONNXRUNTIME_LIBRARY "text" ...
//
// For a bundle of the task "token-classification".

import Foundation
import Limbeck

let arguments = CommandLine.arguments
if arguments.count < 4 {
    FileHandle.standardError.write(Data("usage: Entities BUNDLE ONNXRUNTIME_LIBRARY \"text\" ...\n".utf8))
    exit(2)
}
do {
    let model = try Model(Environment(runtimePath: arguments[2]), path: arguments[1])
    for text in arguments.dropFirst(3) {
        for entity in try model.tag(text).entities {
            // Ranges are those of the text that was given: characters, as Swift counts.
            let begin = text.distance(from: text.startIndex, to: entity.range.lowerBound)
            let end = text.distance(from: text.startIndex, to: entity.range.upperBound)
            print("\(entity.label)  \(entity.score)  characters \(begin) to \(end)  \(text[entity.range])")
        }
    }
} catch {
    FileHandle.standardError.write(Data("\(error)\n".utf8))
    exit(1)
}
