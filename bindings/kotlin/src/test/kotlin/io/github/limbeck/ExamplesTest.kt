package io.github.limbeck

import java.io.ByteArrayOutputStream
import java.io.File
import java.io.PrintStream
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.params.ParameterizedTest
import org.junit.jupiter.params.provider.ValueSource

/** The programs of examples/kotlin and examples/java, which are compiled with the tests. */
internal class ExamplesTest {
    @ParameterizedTest
    @ValueSource(strings = ["kotlin", "java"])
    fun examplesGiveWhatIsExpected(language: String) {
        val suffix = if (language == "kotlin") "Kt" else ""
        val names = listOf("Answer", "Entities", "Generate", "HotSwap", "Sentiment", "Similarity")
        val files = File(Fixtures.cases, "../../examples/$language").listFiles().orEmpty()
        assertEquals(names, files.filter { it.extension in setOf("kt", "java") }.map { it.nameWithoutExtension }.sorted())

        fun run(name: String, bundle: String, vararg arguments: String) = program(name + suffix, bundle, *arguments)

        val sentiment = run("Sentiment", "tiny", "a good film", "bad")
        assertEquals(listOf("positive", "negative"), sentiment.map { it.substringBefore(" ") })
        assertTrue(sentiment[1].endsWith(" ms  bad"), sentiment[1])
        val entities = run("Entities", "entities", "🙂 Ada Lovelace wrote it, London")
        assertEquals(listOf("UTF-16 3 to 15  Ada Lovelace", "UTF-16 26 to 32  London"), entities.map { it.substring(it.indexOf("UTF")) })
        val answers = run("Answer", "reader", "Who wrote it?", "It: Ada Lovelace wrote it.")
        assertEquals(3, answers.size)
        assertTrue(answers[0].endsWith("UTF-16 4 to 16  Ada Lovelace"), answers[0])
        val similar = run("Similarity", "embedder", "good film", "bad", "good")
        assertEquals(listOf("good", "bad"), similar.map { it.substringAfterLast(" ") })
        // The context of 32 tokens is full: 6 of the prompt, and the last one written is not read.
        val written = run("Generate", "teller", "x: bad\nx:")
        assertEquals(" bad.ab🙂.ab🙂.ab🙂.ab🙂.a", written[0])
        assertTrue(Regex("""27 tokens, context, \d+\.\d tokens a second""").matches(written[1]), written[1])
        assertTrue(run("Generate", "teller", "c")[1].startsWith("3 tokens, end-of-text, "))

        val later = Fixtures.bundle("later").path
        val swapped = run("HotSwap", "tiny", later)
        assertEquals(listOf("model 1: positive", "model 2: negative"), swapped.map { it.substringBefore("  ") })
        val refused = run("HotSwap", "tiny", Fixtures.bundle("failing").path)
        assertTrue(refused[1].startsWith("not replaced: the self-test of model `tiny` failed"), refused[1])
        assertTrue(refused[2].startsWith("model 1: negative"), refused[2])
    }

    /** What a program prints. */
    private fun program(name: String, bundle: String, vararg arguments: String): List<String> {
        val (input, output) = System.`in` to System.out
        val bytes = ByteArrayOutputStream()
        try {
            System.setIn("good\nbad\n".byteInputStream())
            System.setOut(PrintStream(bytes, true, "UTF-8"))
            val words = arrayOf(Fixtures.bundle(bundle).path, Fixtures.environment.runtimePath, *arguments)
            Class.forName(name).getMethod("main", Array<String>::class.java).invoke(null, words)
        } finally {
            System.setIn(input)
            System.setOut(output)
        }
        return bytes.toString("UTF-8").lines().filter { it.isNotEmpty() }
    }
}
