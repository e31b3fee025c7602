// Answers a question from a text of any length, and says where the answer stands.
//
//   Answer BUNDLE ONNXRUNTIME_LIBRARY "question" "text"
//
// For a bundle of the task "question-answering".

import Foundation
import Limbeck

let arguments = CommandLine.arguments
if arguments.count != 5 {
    FileHandle.standardError.write(Data("usage: Answer BUNDLE ONNXRUNTIME_LIBRARY \"question\" \"text\"\n".utf8))
    exit(2)
}
do {
    let model = try Model(Environment(runtimePath: arguments[2]), path: arguments[1])
    // The three best; and no more than two seconds for a text that could be a book.
    let options = CallOptions.with {
        $0.topK = 3
        $0.timeoutMilliseconds = 2000
    }
    let (question, text) = (arguments[3], arguments[4])
    // In an app this is the task of a screen: when the screen goes, the call ends.
    for answer in try await model.concurrent.answer(question: question, text: text, options: options).answers {
        let begin = text.distance(from: text.startIndex, to: answer.range.lowerBound)
        let end = text.distance(from: text.startIndex, to: answer.range.upperBound)
        print("\(answer.score)  characters \(begin) to \(end)  \(answer.text)")
    }
} catch {
    FileHandle.standardError.write(Data("\(error)\n".utf8))
    exit(1)
}
