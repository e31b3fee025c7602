import CLimbeck

extension String {
    /// A copy of a view of C's.
    init(_ view: limbeck_str) {
        guard let data = view.data else {
            self = ""
            return
        }
        let bytes = UnsafeRawBufferPointer(start: data, count: view.length)
        self = String(decoding: bytes, as: UTF8.self)
    }

    /// The text for a call of C's.
    func withView<R>(_ body: (limbeck_str) throws -> R) rethrows -> R {
        var text = self
        return try text.withUTF8 { utf8 in
            try utf8.withMemoryRebound(to: CChar.self) {
                try body(limbeck_str(data: $0.baseAddress, length: $0.count))
            }
        }
    }

    /// The place of a span, given in bytes of UTF-8.
    func range(_ span: limbeck_span) -> Range<String.Index> {
        let begin = utf8.index(startIndex, offsetBy: span.byte_begin)
        return begin..<utf8.index(begin, offsetBy: span.byte_end - span.byte_begin)
    }
}

/// Many texts for one call of C's, one after the other in memory.
struct Texts {
    private var bytes: [CChar] = []
    private var lengths: [Int] = []

    init(_ texts: some Sequence<String>) {
        for text in texts {
            text.withView { view in
                bytes.append(contentsOf: UnsafeBufferPointer(start: view.data, count: view.length))
                lengths.append(view.length)
            }
        }
    }

    init(pairs: [(String, String)]) {
        self.init(pairs.lazy.flatMap { [$0.0, $0.1] })
    }

    func withViews<R>(_ body: (UnsafePointer<limbeck_str>?, Int) throws -> R) rethrows -> R {
        try bytes.withUnsafeBufferPointer { bytes in
            var views: [limbeck_str] = []
            views.reserveCapacity(lengths.count)
            var begin = 0
            for length in lengths {
                views.append(limbeck_str(data: bytes.baseAddress.map { $0 + begin }, length: length))
                begin += length
            }
            return try views.withUnsafeBufferPointer { try body($0.baseAddress, $0.count) }
        }
    }

    /// As pairs: a `limbeck_pair` is two `limbeck_str`, one after the other.
    func withPairs<R>(_ body: (UnsafePointer<limbeck_pair>?, Int) throws -> R) rethrows -> R {
        try withViews { views, count in
            let pairs = UnsafeBufferPointer(start: views, count: count)
            return try pairs.withMemoryRebound(to: limbeck_pair.self) { try body($0.baseAddress, $0.count) }
        }
    }
}
