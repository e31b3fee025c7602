import CLimbeck

/// Which of two texts comes first.
public struct Order: Sendable, Equatable {
    /// How likely the first text comes before the second; else it comes after it.
    public let probability: Float
    /// The natural log of its odds, before the bundle's calibration.
    public let logit: Float
    public let usage: Usage
}

extension Model {
    /// Tells which of two texts comes first. A model of the task "order". Of a pair that is too long the longer text is
    /// truncated by default; windows are put together by the mean of their logits, each weighted by its tokens.
    public func order(_ first: String, _ second: String, options: CallOptions = CallOptions()) throws -> Order {
        try order(batch: [(first, second)], options: options).only()
    }

    /// Tells which comes first in each of some pairs of texts.
    public func order(batch pairs: [(String, String)], options: CallOptions = CallOptions()) throws -> [Order] {
        try options.withOptions { options in
            try Texts(pairs: pairs).withPairs { pairs, count in
                try CallResult.of { limbeck_model_order_batch(handle, pairs, count, options, $0, $1) } read: {
                    try $0.orders()
                }
            }
        }
    }
}

extension CallResult {
    fileprivate func orders() throws -> [Order] {
        try each { text in
            var order = limbeck_order()
            limbeck_order_init(&order, MemoryLayout<limbeck_order>.size)
            try check { limbeck_result_order(handle, text, &order, $0) }
            return Order(probability: order.probability, logit: order.logit, usage: try usage(text))
        }
    }
}
