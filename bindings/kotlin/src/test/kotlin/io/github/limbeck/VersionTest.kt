package io.github.limbeck

import java.io.File
import java.nio.file.Files
import java.util.concurrent.TimeUnit
import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout

/** Classes and native library must be of one version: what is loaded in a process of its own is looked at first. */
@Timeout(60)
internal class VersionTest {
    private val folder: File = Files.createTempDirectory("limbeck").toFile()

    @AfterEach
    fun remove() {
        folder.deleteRecursively()
    }

    @Test
    fun versionsAreThoseOfTheRepository() {
        val root = Fixtures.cases.parentFile.parentFile
        val workspace = File(root, "Cargo.toml").readText().substringAfter("[workspace.package]")
        assertEquals(Native.VERSION, Regex("version = \"(.*)\"").find(workspace)!!.groupValues[1])
        assertTrue("<version>${Native.VERSION}</version>" in File(root, "bindings/kotlin/pom.xml").readText())
        assertEquals(Native.VERSION, Limbeck.version)
    }

    @Test
    fun ourOwnIsTaken() {
        val (status, output) = start(Fixtures.property("limbeck.library"))
        assertEquals(0, status, output)
        assertEquals("limbeck ${Native.VERSION}", output.trim())
    }

    @Test
    fun anotherVersionIsRefusedAndBothAreNamed() {
        val (status, output) = start(library("0.9.7", Native.CONTRACT))
        assertEquals(1, status, output)
        for (part in listOf("limbeck ${Native.VERSION} (contract ${Native.CONTRACT})", "limbeck 0.9.7 (contract ${Native.CONTRACT})", "use both of one version", "LimbeckException\$Incompatible")) {
            assertTrue(part in output, output)
        }
        // Hidden in such an error, no app could catch it.
        assertFalse("ExceptionInInitializerError" in output, output)
    }

    @Test
    fun anotherContractIsRefused() {
        val (status, output) = start(library(Native.VERSION, 77))
        assertEquals(1, status, output)
        assertTrue("limbeck ${Native.VERSION} (contract 77)" in output, output)
    }

    @Test
    fun whatIsNotLimbeckIsRefused() {
        val (status, output) = start(compile("int nothing;\n"))
        assertEquals(1, status, output)
        assertTrue("not one of limbeck's" in output, output)
    }

    @Test
    fun noLibraryIsToldWithTheWayOut() {
        val (status, output) = start(File(folder, "no-such.so").path)
        assertEquals(1, status, output)
        assertTrue("limbeck.library" in output, output)
    }

    /** A library that says it is of this version. */
    private fun library(version: String, contract: Int): String = compile(
        """
        #include <jni.h>
        JNIEXPORT jstring JNICALL Java_io_github_limbeck_Native_version(JNIEnv *env, jclass type) {
            return (*env)->NewStringUTF(env, "$version");
        }
        JNIEXPORT jint JNICALL Java_io_github_limbeck_Native_contract(JNIEnv *env, jclass type) { return $contract; }
        """.trimIndent(),
    )

    private fun compile(source: String): String {
        val (from, to) = File(folder, "other.c").apply { writeText(source + "\n") } to File(folder, "libother.so")
        val include = File(System.getProperty("java.home"), "include")
        val words = listOf("cc", "-shared", "-fPIC", "-I$include", "-I$include/linux", from.path, "-o", to.path)
        val compiler = ProcessBuilder(words).redirectErrorStream(true).start()
        assertEquals("", compiler.inputStream.bufferedReader().readText())
        return to.path
    }

    private fun start(library: String): Pair<Int, String> {
        val java = File(System.getProperty("java.home"), "bin/java").path
        val path = System.getProperty("java.class.path")
        val words = listOf(java, "-Xcheck:jni", "-Dlimbeck.library=$library", "-cp", path, "io.github.limbeck.VersionTest")
        val process = ProcessBuilder(words).redirectErrorStream(true).start()
        val output = process.inputStream.bufferedReader().readText()
        assertTrue(process.waitFor(30, TimeUnit.SECONDS))
        return process.exitValue() to output
    }

    companion object {
        /** What an app does first. */
        @JvmStatic
        fun main(arguments: Array<String>) {
            // The second time must say the same as the first.
            runCatching { Limbeck.openHandles }
            println("limbeck ${Limbeck.version}")
        }
    }
}
