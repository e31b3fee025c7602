import CLimbeck
import Foundation

/// Ends calls from another thread: give it to a call in its options, and trigger it while the call runs. It stays
/// triggered, so calls given it later end at once; make a new one for new work. May be given to many calls.
public final class Cancel: @unchecked Sendable {
    let handle: OpaquePointer
    private let lock = NSLock()
    private var followers: [ObjectIdentifier: Cancel] = [:]

    public init() throws { handle = try made { limbeck_cancel_new($0, $1) } }

    deinit { limbeck_cancel_free(handle) }

    /// Ends the calls that were given this token, now and later: they throw `Status.cancelled`, one that runs stops
    /// within the operator it is at. Does not wait.
    public func trigger() {
        limbeck_cancel_trigger(handle)
        lock.withLock { Array(followers.values) }.forEach { $0.trigger() }
    }

    /// Whether it was triggered.
    public var isTriggered: Bool { limbeck_cancel_is_triggered(handle) }

    /// Triggers another one with this one, until `release`.
    func lead(_ other: Cancel) {
        lock.withLock { followers[ObjectIdentifier(other)] = other }
        if isTriggered { other.trigger() }
    }

    func release(_ other: Cancel) {
        lock.withLock { _ = followers.removeValue(forKey: ObjectIdentifier(other)) }
    }
}
