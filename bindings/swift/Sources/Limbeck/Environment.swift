import CLimbeck

/// ONNX Runtime, found and loaded. A process has one: it stays loaded until the process ends.
public final class Environment: @unchecked Sendable {
    let handle: OpaquePointer

    /// Loads ONNX Runtime, if this process has not yet, and checks its version.
    ///
    /// - Parameters:
    ///   - runtimePath: the library to load, 1.24 or later. Empty: it is looked for beside the program, then beside
    ///     liblimbeck, then where the system's loader looks
    ///   - threads: the `threads` of models whose options have 0
    /// - Throws: `LimbeckError`: there is none, it is too old, another one is loaded already, or the C library is of
    ///   another version than these bindings were built with
    public init(runtimePath: String = "", threads: UInt32 = 0) throws {
        var options = limbeck_env_options()
        limbeck_env_options_init(&options, MemoryLayout<limbeck_env_options>.size)
        options.threads = threads
        handle = try runtimePath.withView { path in
            options.runtime_path = path
            return try made { limbeck_env_new(&options, $0, $1) }
        }
    }

    deinit { limbeck_env_free(handle) }

    /// Version of the ONNX Runtime in use: "1.24.4".
    public var runtimeVersion: String { String(limbeck_env_runtime_version(handle)) }
    /// File of the ONNX Runtime in use, or the bare name that the system's loader resolved.
    public var runtimePath: String { String(limbeck_env_runtime_path(handle)) }
}

/// The version of the C library: "0.1.0".
public var libraryVersion: String { String(cString: limbeck_version()) }

/// How many handles of the C library are open in the process, for objects of these types and for calls that run: to look
/// for leaks.
public var openHandles: Int { limbeck_open_handles() }
