import CLimbeck

/// Why a call failed.
public struct LimbeckError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The number of the status.
    public let code: Int32
    /// What failed and, where there is a way, how to mend it, in English.
    public let message: String

    /// The status; nil if a later C library has one that this version does not know.
    public var status: Status? { Status(rawValue: code) }
    /// The name as C has it: `LIMBECK_NOT_FOUND`.
    public var name: String { String(cString: limbeck_status_name(code)) }
    public var description: String { message }

    init(_ status: Status, _ message: String) { self.init(status.rawValue, message) }

    init(_ code: Int32, _ message: String) { (self.code, self.message) = (code, message) }

    init(_ code: Int32, taking error: OpaquePointer?) {
        self.code = code
        self.message = String(limbeck_error_message(error))
        limbeck_error_free(error)
    }
}

extension LimbeckError {
    /// The same error with a reason that C does not know.
    func adding(_ reason: String) -> LimbeckError { LimbeckError(code, "\(message): \(reason)") }
}

typealias ErrorPlace = UnsafeMutablePointer<OpaquePointer?>

/// Makes a call of C's, and throws what it fails with.
func check(_ call: (ErrorPlace) -> limbeck_status) throws {
    var error: OpaquePointer?
    let status = call(&error)
    if status != 0 { throw LimbeckError(status, taking: error) }
}

/// A call that makes a handle. Nothing is made by a C library of another ABI.
func made(_ call: (UnsafeMutablePointer<OpaquePointer?>, ErrorPlace) -> limbeck_status) throws -> OpaquePointer {
    try check { limbeck_abi_check(UInt32(LIMBECK_ABI_VERSION), $0) }
    var out: OpaquePointer?
    try check { call(&out, $0) }
    guard let out else { throw LimbeckError(.internal, "a call succeeded and made nothing") }
    return out
}
