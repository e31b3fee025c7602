/// What a failed call says: the statuses of `limbeck.h`, with the same numbers, which never change.
public enum Status: Int32, Sendable, CaseIterable {
    /// An argument or option has a value that cannot be used.
    case invalidArgument = 1
    /// A text is not UTF-8. Swift's strings always are.
    case invalidUTF8 = 2
    /// A file is not there.
    case notFound = 3
    /// The operating system refused to read or write a file.
    case io = 4
    /// The file is no limbeck bundle.
    case notABundle = 5
    /// The bundle ends before it should.
    case truncated = 6
    /// Bytes of the bundle do not have the hash they should.
    case corrupt = 7
    /// The bundle breaks a rule of its format.
    case malformed = 8
    /// The bundle, the program or the C library is of another version than is needed.
    case incompatible = 9
    /// The model was made for another task.
    case wrongTask = 10
    /// The text is longer than the model takes.
    case tooLong = 11
    /// The call was cancelled.
    case cancelled = 12
    /// The deadline passed before the call was finished.
    case deadlineExceeded = 13
    /// No ONNX Runtime library was found.
    case runtimeNotFound = 14
    /// The ONNX Runtime library found cannot be used.
    case runtimeIncompatible = 15
    /// ONNX Runtime refused the model or failed while running it.
    case inference = 16
    /// The bundle's tokenizer cannot be read, or failed on a text.
    case tokenizer = 17
    /// A memory budget cannot be kept.
    case memoryBudget = 18
    /// A signature is missing or wrong.
    case signature = 19
    /// A bundle's own test inputs did not give the outputs expected.
    case selfTest = 20
    /// A pointer is NULL that must not be; a bug in these bindings.
    case nullPointer = 21
    /// A struct is too new for the C library.
    case badStructSize = 22
    /// The bundle is an older build than it may be.
    case rollback = 23
    /// A bug in limbeck.
    case `internal` = 99
}
