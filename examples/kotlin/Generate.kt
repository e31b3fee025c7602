// Writes on from a prompt, and shows the text as it is written.
//
//   GenerateKt BUNDLE ONNXRUNTIME_LIBRARY "prompt"
//
// For a bundle of the task "generation".

import io.github.limbeck.ContextPolicy
import io.github.limbeck.Environment
import io.github.limbeck.GenerateOptions
import io.github.limbeck.LimbeckException
import io.github.limbeck.Model
import io.github.limbeck.suspending
import kotlin.system.exitProcess
import kotlinx.coroutines.runBlocking

fun main(args: Array<String>) {
    if (args.size != 3) {
        System.err.println("usage: GenerateKt BUNDLE ONNXRUNTIME_LIBRARY \"prompt\"")
        exitProcess(2)
    }
    try {
        Model.open(Environment(args[1]), args[0]).use { model ->
            // The likeliest token each time: set a temperature and a seed to draw. At the end of the
            // context the text ends, too.
            val options = GenerateOptions.of { maxNewTokens(200).context(ContextPolicy.STOP) }
            // In an app this is a coroutine of a screen: when the screen goes, the call ends. `stream`
            // gives the same tokens as a flow.
            val found = runBlocking {
                model.suspending().generate(args[2], options) { piece ->
                    print(piece.text) // whole characters; none with a token that is a part of one
                    System.out.flush()
                    true // false ends the text here
                }
            }
            val seconds = (found.prefillNanos + found.decodeNanos + found.samplingNanos) / 1e9
            val (tokens, why) = found.generatedTokens to found.finish.name.lowercase().replace('_', '-')
            println("\n%d tokens, %s, %.1f tokens a second".format(tokens, why, tokens / seconds))
        }
    } catch (failure: LimbeckException) {
        System.err.println(failure.message)
        exitProcess(1)
    }
}
