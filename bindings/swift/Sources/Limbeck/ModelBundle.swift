import CLimbeck

/// What must hold for a bundle, and what helps to read it.
public struct BundleOptions: Sendable {
    /// Decrypts the content of a section, given its name and its stored bytes.
    public typealias Decrypt = @Sendable (_ section: String, _ stored: [UInt8]) throws -> [UInt8]

    /// Public keys of 64 hex digits each: one of them must have signed the bundle, which is checked before anything
    /// else in it is read. Nil: no signature is asked for, and hashes show damage but not forgery.
    public var keys: [String]?
    /// The lowest build number that will do.
    public var minimumBuild: UInt64
    /// The longest bundle that is read to memory, in bytes. 0: 4 GiB.
    public var sizeLimit: UInt64
    /// Decrypts the sections that are encrypted. Nil: such a bundle is refused.
    public var decrypt: Decrypt?

    public init(keys: [String]? = nil, minimumBuild: UInt64 = 0, sizeLimit: UInt64 = 0, decrypt: Decrypt? = nil) {
        (self.keys, self.minimumBuild, self.sizeLimit, self.decrypt) = (keys, minimumBuild, sizeLimit, decrypt)
    }

    /// The options for a call of C's.
    func withOptions<R>(_ body: (UnsafePointer<limbeck_bundle_options>) throws -> R) throws -> R {
        var options = limbeck_bundle_options()
        limbeck_bundle_options_init(&options, MemoryLayout<limbeck_bundle_options>.size)
        (options.minimum_build, options.size_limit) = (minimumBuild, sizeLimit)
        if let keys, keys.isEmpty {
            throw LimbeckError(.invalidArgument, "the list of keys is empty: leave it nil to ask for no signature")
        }
        let decryptor = decrypt.map(Decryptor.init)
        return try withExtendedLifetime(decryptor) {
            if let decryptor {
                options.decrypt_data = Unmanaged.passUnretained(decryptor).toOpaque()
                options.decrypt = { data, section, stored, length, sink in
                    guard let data else { return 1 }
                    return Unmanaged<Decryptor>.fromOpaque(data).takeUnretainedValue().run(section, stored, length, sink)
                }
            }
            do {
                return try Texts(keys ?? []).withViews { views, count in
                    // NULL, and not an empty list, asks for no signature.
                    (options.keys, options.key_count) = keys == nil ? (nil, 0) : (views, count)
                    return try body(&options)
                }
            } catch let error as LimbeckError {
                throw decryptor?.failure.map { error.adding("\($0)") } ?? error
            }
        }
    }
}

/// A decrypt function, and what it threw.
private final class Decryptor {
    let decrypt: BundleOptions.Decrypt
    private(set) var failure: Error?

    init(_ decrypt: @escaping BundleOptions.Decrypt) { self.decrypt = decrypt }

    func run(_ section: limbeck_str, _ stored: UnsafePointer<UInt8>?, _ length: Int, _ sink: OpaquePointer?) -> Int32 {
        let bytes = [UInt8](UnsafeBufferPointer(start: stored, count: length))
        do {
            let content = try decrypt(String(section), bytes)
            return limbeck_sink_write(sink, content, content.count, nil)
        } catch {
            failure = error
            return 1
        }
    }
}

/// A bundle, opened and verified: every offset, length and hash in it was checked. Needs no ONNX Runtime, so it also
/// serves to look at a file.
public final class ModelBundle: @unchecked Sendable {
    let handle: OpaquePointer

    init(handle: OpaquePointer) { self.handle = handle }

    /// Opens a bundle file and verifies all of it. The file is mapped: do not change or cut it while the bundle or its
    /// models are open; replace it by renaming a new file over it.
    public convenience init(path: String, options: BundleOptions = BundleOptions()) throws {
        let handle = try options.withOptions { options in
            try path.withView { path in try made { limbeck_bundle_open(path.data, path.length, options, $0, $1) } }
        }
        self.init(handle: handle)
    }

    /// Opens a bundle in memory and verifies all of it. The bytes are copied.
    public convenience init(bytes: some Collection<UInt8>, options: BundleOptions = BundleOptions()) throws {
        let bytes = Array(bytes)
        let handle = try options.withOptions { options in
            try made { limbeck_bundle_open_bytes(bytes, bytes.count, options, $0, $1) }
        }
        self.init(handle: handle)
    }

    /// Opens a bundle that lies in an open file: `length` bytes from `offset` on, or all up to its end if `length` is 0.
    /// At an `offset` that is a multiple of 64 it is mapped, else read to memory. The descriptor stays yours and may be
    /// closed afterwards.
    public convenience init(
        descriptor: Int32, offset: UInt64 = 0, length: UInt64 = 0, options: BundleOptions = BundleOptions()
    ) throws {
        let handle = try options.withOptions { options in
            try made { limbeck_bundle_open_fd(descriptor, offset, length, options, $0, $1) }
        }
        self.init(handle: handle)
    }

    deinit { limbeck_bundle_free(handle) }

    /// Name of the model: "sentiment".
    public var id: String { String(limbeck_bundle_id(handle)) }
    /// Version of the model, for people: "0.1.0".
    public var version: String { String(limbeck_bundle_version(handle)) }
    /// Build number of the model, which grows with each build of one id.
    public var build: UInt64 { limbeck_bundle_build(handle) }
    /// What the model does: "text-classification".
    public var task: String { String(limbeck_bundle_task(handle)) }
    /// The most tokens that the model takes at one time, special tokens included.
    public var maxTokens: Int { limbeck_bundle_max_tokens(handle) }
    /// Size of the whole bundle in bytes.
    public var size: UInt64 { limbeck_bundle_size(handle) }
    /// All that the manifest says, as a JSON object; described in docs/bundle-format.md.
    public var manifestJSON: String { String(limbeck_bundle_manifest_json(handle)) }

    /// The labels that the model knows.
    public var labels: [String] {
        list(limbeck_bundle_label_count(handle)) { limbeck_bundle_label(handle, $0, $1, nil) }
    }

    /// The ids of the keys that the bundle says it is signed by, 16 hex digits each. This checks no signature.
    public var signers: [String] {
        list(limbeck_bundle_signer_count(handle)) { limbeck_bundle_signer(handle, $0, $1, nil) }
    }

    /// Checks that one of some public keys signed the bundle, and gives its place among them. To have it checked before
    /// anything else is read, give the keys when opening it.
    public func verify(keys: [String]) throws -> Int {
        var place = 0
        try Texts(keys).withViews { views, count in
            try check { limbeck_bundle_verify(handle, views, count, &place, $0) }
        }
        return place
    }
}

/// Texts that a handle has, by their places.
func list(_ count: Int, _ get: (Int, UnsafeMutablePointer<limbeck_str>) -> limbeck_status) -> [String] {
    (0..<count).map { index in
        var text = limbeck_str()
        return get(index, &text) == 0 ? String(text) : ""
    }
}
