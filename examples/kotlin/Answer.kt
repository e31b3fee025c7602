// Answers a question from a text of any length, and says where the answer stands.
//
//   AnswerKt BUNDLE ONNXRUNTIME_LIBRARY "question" "text"
//
// For a bundle of the task "question-answering".

import io.github.limbeck.CallOptions
import io.github.limbeck.Environment
import io.github.limbeck.LimbeckException
import io.github.limbeck.Model
import io.github.limbeck.suspending
import kotlin.system.exitProcess
import kotlinx.coroutines.runBlocking

fun main(args: Array<String>) {
    if (args.size != 4) {
        System.err.println("usage: AnswerKt BUNDLE ONNXRUNTIME_LIBRARY \"question\" \"text\"")
        exitProcess(2)
    }
    try {
        Model.open(Environment(args[1]), args[0]).use { model ->
            // The three best; and no more than two seconds for a text that could be a book.
            val options = CallOptions.of { topK(3).timeoutMillis(2000) }
            // In an app this is a coroutine of a screen: when the screen goes, the call ends.
            val found = runBlocking { model.suspending().answer(args[2], args[3], options) }
            for ((text, span, score) in found.answers) println("$score  UTF-16 ${span.start} to ${span.end}  $text")
        }
    } catch (failure: LimbeckException) {
        System.err.println(failure.message)
        exitProcess(1)
    }
}
