/** limbeck runs small language models, distilled from large ones, on the device itself. */

/** A text: a string, or its UTF-8. */
export type Text = string | Uint8Array;
/** Two texts that belong together. */
export type Pair = readonly [Text, Text];
/** A vector. A Float32Array is read where it lies, others are copied. */
export type Vector = Float32Array | Float64Array | readonly number[];

/** The library's version: "0.1.0". */
export const version: string;

/** How many handles of the library are open in the process, for objects of this package and for calls that run: to look for
 *  leaks. */
export function openHandles(): number;

// ---- errors

/** The numbers of enum limbeck_status_code, by name. */
export const Status: {
  readonly INVALID_ARGUMENT: 1;
  readonly INVALID_UTF8: 2;
  readonly NOT_FOUND: 3;
  readonly IO: 4;
  readonly NOT_A_BUNDLE: 5;
  readonly TRUNCATED: 6;
  readonly CORRUPT: 7;
  readonly MALFORMED: 8;
  readonly INCOMPATIBLE: 9;
  readonly WRONG_TASK: 10;
  readonly TOO_LONG: 11;
  readonly CANCELLED: 12;
  readonly DEADLINE_EXCEEDED: 13;
  readonly RUNTIME_NOT_FOUND: 14;
  readonly RUNTIME_INCOMPATIBLE: 15;
  readonly INFERENCE: 16;
  readonly TOKENIZER: 17;
  readonly MEMORY_BUDGET: 18;
  readonly SIGNATURE: 19;
  readonly SELF_TEST: 20;
  readonly NULL_POINTER: 21;
  readonly BAD_STRUCT_SIZE: 22;
  readonly ROLLBACK: 23;
  readonly INTERNAL: 99;
};

/** A call failed. The message says what failed and, where there is a way, how to mend it. */
export class LimbeckError extends Error {
  constructor(message: string, status?: number, options?: ErrorOptions);
  /** A number of `Status`. */
  readonly status: number;
  /** The name of the status: "LIMBECK_TOO_LONG". */
  readonly code: string;
}
/** An argument or option has a value that cannot be used. */
export class InvalidArgumentError extends LimbeckError {}
/** A text has no UTF-8: half of a surrogate pair, or bytes that are none. */
export class InvalidUtf8Error extends LimbeckError {}
/** A file is not there. */
export class NotFoundError extends LimbeckError {}
/** The operating system refused to read or write a file. */
export class IoError extends LimbeckError {}
/** The model was made for another task. */
export class WrongTaskError extends LimbeckError {}
/** The text is longer than the model takes. */
export class TooLongError extends LimbeckError {}
/** The call was cancelled by its signal, whose reason is the `cause`. Its `name` is "AbortError". */
export class CancelledError extends LimbeckError {}
/** The timeout passed before the call was finished. */
export class DeadlineExceededError extends LimbeckError {}
/** No ONNX Runtime library was found. */
export class RuntimeNotFoundError extends LimbeckError {}
/** The ONNX Runtime library found cannot be used. */
export class RuntimeIncompatibleError extends LimbeckError {}
/** ONNX Runtime refused the model or failed while running it. */
export class InferenceError extends LimbeckError {}
/** The bundle's tokenizer cannot be read, or failed on a text. */
export class TokenizerError extends LimbeckError {}
/** A memory budget cannot be kept. */
export class MemoryBudgetError extends LimbeckError {}
/** A bug in limbeck. Please report it. */
export class InternalError extends LimbeckError {}
/** Something is wrong with a bundle. */
export class BundleError extends LimbeckError {}
/** The file is no limbeck bundle. */
export class NotABundleError extends BundleError {}
/** The bundle ends before it should. */
export class TruncatedError extends BundleError {}
/** Bytes of the bundle do not have the hash they should. */
export class CorruptError extends BundleError {}
/** The bundle breaks a rule of its format. */
export class MalformedError extends BundleError {}
/** The bundle or the program needs another version. */
export class IncompatibleError extends BundleError {}
/** A signature is missing or wrong. */
export class SignatureError extends BundleError {}
/** A bundle's own test inputs did not give the outputs expected. */
export class SelfTestError extends BundleError {}
/** The bundle is an older build than it may be. */
export class RollbackError extends BundleError {}

// ---- runtime and log

/** The ONNX Runtime in use. */
export interface Runtime {
  /** "1.24.4" */
  version: string;
  path: string;
}

/** Loads ONNX Runtime, or tells which one is loaded. Without a path it is that of the npm package onnxruntime-node, if
 *  it is installed, whose code is not run for it; nothing else is tried. A process has one: asking for another file
 *  than the one that is loaded throws RuntimeIncompatibleError. */
export function loadRuntime(path?: Text): Runtime;

export type LogLevel = "verbose" | "info" | "warning" | "error" | "fatal";
/** Gives log messages of a level ("warning") and above, the library's and ONNX Runtime's, to a function, for the whole
 *  process; null stops that. For the search for faults: threads that log wait for Node's. */
export function setLogger(
  logger: ((level: LogLevel, message: string) => void) | null,
  lowest?: LogLevel,
): Promise<void>;

// ---- options

/** Options of the calls of all tasks. */
export interface CallOptions {
  /** What to do with a text of more tokens than the model takes; each task has its own default, and usage tells what
   *  was dropped. */
  overflow?: "truncate" | "error" | "window";
  /** Tokens that two neighbouring windows share. */
  windowStride?: number;
  /** Milliseconds after which the call fails with DeadlineExceededError. */
  timeout?: number;
  /** Ends the call with CancelledError. */
  signal?: AbortSignal;
}
export interface ClassifyOptions extends CallOptions {
  /** How many labels, the best ones. */
  topK?: number;
  /** The lowest probability at which one of independent labels holds; by default as the bundle says. */
  threshold?: number;
  /** The text is out of scope if the best label has less; by default as the bundle says. */
  outOfScope?: number;
}
export interface ZeroShotOptions extends CallOptions {
  /** Says that the label at `{}` holds; `This example is {}.` by default. */
  hypothesis?: Text;
  /** Each label has a probability of its own; else exactly one holds. */
  multiLabel?: boolean;
}
export interface RerankOptions extends CallOptions {
  /** How many texts, the best ones. */
  topK?: number;
  /** The label whose score counts; by default the only one, or the one that the bundle names for entailment. */
  label?: Text;
}
export interface TagOptions extends CallOptions {
  /** How tokens become words; "first" by default. */
  aggregation?: "first" | "average" | "max" | "strict" | "none";
  /** Leave out entities with a lower score. */
  threshold?: number;
}
export interface AnswerOptions extends CallOptions {
  /** How many answers; 1 by default. */
  topK?: number;
  /** The most tokens of an answer; 15 by default. */
  maxAnswerTokens?: number;
}
export interface OrderOptions extends CallOptions {
  /** Read each pair in both orders and combine them, so that the answer for a swapped pair is the opposite; twice the
   *  work. */
  bothOrders?: boolean;
}
export interface ReplacedOptions extends CallOptions {
  /** "max", the default: a word is as suspicious as the most suspicious of its tokens; "average"; "none": runs of tokens
   *  in place of words. */
  aggregation?: "max" | "average" | "none";
  /** The lowest probability of a suspicious word; 0.5 by default. */
  threshold?: number;
}
export interface FillMaskOptions extends CallOptions {
  /** How many guesses for a mask; 5 by default. */
  topK?: number;
}
export interface FitOptions extends CallOptions {
  /** Weighs the examples against keeping the head simple; 10 by default. */
  strength?: number;
}
/** Options of the calls of models that write text. */
export interface EndOptions {
  /** Milliseconds after which the call fails with DeadlineExceededError. */
  timeout?: number;
  /** Ends the call with CancelledError. */
  signal?: AbortSignal;
}
export interface StreamOptions extends EndOptions {
  /** The most tokens to write; 128 by default. */
  maxNewTokens?: number;
  /** 0, the default: the likeliest token each time. Above: tokens are drawn, from logits divided by this. */
  temperature?: number;
  /** Draw among the fewest likeliest tokens whose probabilities reach this sum. */
  topP?: number;
  /** Draw among so many of the likeliest tokens. */
  topK?: number;
  /** With the same seed the same model writes the same text. */
  seed?: number | bigint;
  /** Makes tokens that stand in the context less likely, if above 1. */
  repetitionPenalty?: number;
  /** Write on after the model's end of text. */
  ignoreEos?: boolean;
  /** Strings that end the text, which ends before them. */
  stops?: Iterable<Text>;
  /** If prompt and new tokens might be more than the model's context holds: "error", the default, is TooLongError
   *  before anything is written; "stop" writes until it is full; "slide" forgets the oldest tokens whenever it is. */
  context?: "error" | "stop" | "slide";
  /** "slide": how many tokens stay; half of the context by default. */
  contextKeep?: number;
}
export interface GenerateOptions extends StreamOptions {
  /** Is given each token as it is written. False ends the text there; what it throws does too, and is thrown by the
   *  call. */
  onToken?: (piece: Piece) => boolean | void;
}
export interface ChooseOptions extends EndOptions {
  /** What completions are compared by: the log probability of a token, the mean over the completion (the default);
   *  that of the whole completion; that over its bytes; how much likelier it is after the prompt than after
   *  answerContext. */
  scoring?: "per-token" | "sum" | "per-byte" | "answer-context";
  /** "answer-context": as "Answer: ". */
  answerContext?: Text;
  /** Queries without content, as "Review: N/A", to calibrate by: a completion's probability is divided by its mean
   *  probability there. */
  contentFree?: Iterable<Text>;
}
export interface PerplexityOptions extends EndOptions {
  /** Tokens before the first that is scored in each further window; half of the context by default. */
  stride?: number;
  /** Score the first token too, after the one that texts begin with. */
  fromStart?: boolean;
}
/** A text to be completed: instruction, examples and query, put together as they are with the separator between them.
 *  What stands before the query is read once, and gone on from in later calls as long as the model has room for it. */
export interface Prompt {
  /** What is to be completed. */
  query: Text;
  /** Texts like the query with their completions, usually with the space before them. */
  examples?: Iterable<Pair>;
  /** What comes first. */
  instruction?: Text;
  /** Stands between the parts: two line ends by default, nothing if empty. */
  separator?: Text;
  /** The most tokens of the prompt; examples that do not fit are left out, the last ones first, and reported. By
   *  default what the context has room for. */
  maxTokens?: number;
  /** An example that does not fit is TooLongError. */
  allExamples?: boolean;
}
/** What must hold for a bundle, and what helps to read it. */
export interface BundleOptions {
  /** Public keys of 64 hex digits: one of them must have signed the bundle. */
  keys?: Iterable<string>;
  /** The lowest build number that will do. */
  minimumBuild?: number;
  /** Decrypts an encrypted section: gets its name and its stored bytes, and gives its content. */
  decrypt?: (section: string, stored: Uint8Array) => Uint8Array;
}
export interface ModelOptions extends BundleOptions {
  /** The ONNX Runtime library to load, see loadRuntime. */
  runtime?: Text;
  /** Threads that one call may use. */
  threads?: number;
  /** Calls that can run at one time, each with memory of its own. */
  sessions?: number;
  /** Idle threads spin: faster on an idle machine, and costs power. */
  spinning?: boolean;
  /** The most private memory that the model may use, in bytes. */
  memoryBudget?: number;
  /** Backends to use, the best first: "cpu", "cuda", ... */
  providers?: Iterable<string>;
}

// ---- results

/** What was read of a text, and how long it took. */
export interface Usage {
  /** Tokens that the model read, special ones included; each counts once. */
  tokensUsed: number;
  /** Tokens of the text that it did not read. */
  tokensDropped: number;
  /** Windows the text was read in; 1 unless it was too long. */
  windows: number;
  tokenizeMs: number;
  /** Waiting and running; texts that ran together share it. */
  inferenceMs: number;
  postMs: number;
}
/** A piece of a text in three units: `text.slice(span.start, span.end)`. */
export interface Span {
  /** In UTF-16 units, as JavaScript counts. */
  start: number;
  end: number;
  /** In bytes of UTF-8. */
  byteStart: number;
  byteEnd: number;
  /** In Unicode scalar values, as Python counts. */
  charStart: number;
  charEnd: number;
}
/** What stands in a text: `text.slice(start, end)`. */
export interface Placed {
  start: number;
  end: number;
  span: Span;
}
export interface Label {
  label: string;
  /** Its place in the list of the model or of the head. */
  index: number;
  /** 0 to 1; the logit itself if the model has none. */
  probability: number;
  logit: number;
  /** Whether the label holds: the best one, or those above their threshold; none out of scope. */
  holds: boolean;
}
export interface Classification {
  /** The best first. */
  labels: Label[];
  /** Whether the best label is sure enough for the text to be the model's business at all. */
  inScope: boolean;
  usage: Usage;
}
export interface ZeroShot {
  /** The best first; `index` is the place in the call. */
  labels: { label: string; index: number; probability: number }[];
  usage: Usage;
}
export interface Ranked {
  /** The text's place in the call. */
  index: number;
  score: number;
  usage: Usage;
}
export interface Entity extends Placed {
  /** What it is: "PER". */
  label: string;
  text: string;
  /** Mean probability of the labels of its words. */
  score: number;
}
export interface Tagging {
  /** In the order of the text. */
  entities: Entity[];
  usage: Usage;
}
export interface Answer extends Placed {
  text: string;
  /** Probability of its start times that of its end, summed over places with the same words. */
  score: number;
}
export interface Answers {
  /** The best first. */
  answers: Answer[];
  /** The score of "the text does not say", to be compared with those of the answers. */
  noAnswer: number;
  usage: Usage;
}
export interface Guess {
  text: string;
  /** The token as it stands in the vocabulary: "##ing". */
  token: string;
  id: number;
  probability: number;
}
export interface Mask extends Placed {
  /** The likeliest first. */
  guesses: Guess[];
}
export interface FilledMasks {
  /** In the order of the text. */
  masks: Mask[];
  usage: Usage;
}
export interface Order {
  /** How likely the first text comes before the second; else it comes after it. */
  probability: number;
  /** The natural log of its odds, before the bundle's calibration. */
  logit: number;
  usage: Usage;
}
export interface Replaced extends Placed {
  text: string;
  /** How likely something else stood here. */
  probability: number;
}
export interface Replacements {
  /** The suspicious words, in the order of the text. */
  spans: Replaced[];
  /** Every token that was read, suspicious or not; one may cut through a character. */
  tokens: Replaced[];
  usage: Usage;
}
export interface Embedding {
  vector: Float32Array;
  usage: Usage;
}
/** The vectors of texts. */
export class Embeddings implements Iterable<Float32Array> {
  private constructor();
  /** All of them, one after the other. */
  readonly vectors: Float32Array;
  /** Floats of a vector. */
  readonly size: number;
  readonly usages: Usage[];
  readonly length: number;
  /** The vector of a text: a view of `vectors`. */
  at(index: number): Float32Array | undefined;
  [Symbol.iterator](): Iterator<Float32Array>;
}
export interface Neighbour {
  index: number;
  similarity: number;
}
/** A token as it is written. */
export interface Piece {
  id: number;
  /** What became certain with it: whole characters, and nothing that may yet be part of a stop string. May be empty. */
  text: string;
}
/** A text that was written. */
export interface Generation {
  /** What follows the prompt, without end of text or stop string. */
  text: string;
  /** Its tokens, the one that ended it among them. */
  ids: Uint32Array;
  /** Why it ended: the model wrote its end of text; a stop string came; as many tokens were written as were allowed;
   *  the context was full; its reader left. */
  finish: "end-of-text" | "stop" | "length" | "context" | "unfinished";
  /** The stop string that came. */
  stop: string | null;
  promptTokens: number;
  /** Tokens of the prompt that were read in an earlier call. */
  cachedTokens: number;
  /** Tokens at the beginning that were forgotten: "slide". */
  tokensDropped: number;
  /** Examples that stand in the prompt. */
  examples: number;
  /** Examples for which there was no room. */
  examplesDropped: number;
  tokenizeMs: number;
  /** Reading prompts, and what is read anew when the context is full. */
  prefillMs: number;
  /** Running the model for all further tokens. */
  decodeMs: number;
  /** Choosing tokens, and making text of them. */
  samplingMs: number;
}
/** A text while it is written: for `for await`. The call begins when the first piece is asked for, and does not wait
 *  for its reader. What makes it fail is thrown by the loop, after the pieces that were written before. */
export class Stream implements AsyncIterableIterator<Piece> {
  private constructor();
  [Symbol.asyncIterator](): this;
  next(): Promise<IteratorResult<Piece, undefined>>;
  /** What leaving the loop does: the call ends with the token that is being written. */
  return(): Promise<IteratorResult<Piece, undefined>>;
  /** All that was written, when the call has ended; "unfinished" if its reader left. */
  readonly result: Promise<Generation>;
}
export interface Choice {
  text: string;
  /** Its place among the completions given. */
  index: number;
  /** What completions are compared by. */
  score: number;
  /** The softmax of the scores of all completions. */
  probability: number;
  /** Natural log of its probability after the prompt. */
  logProbability: number;
  tokens: number;
  /** With the white space that stood at the end of the query. */
  bytes: number;
}
/** What was read of a prompt. */
export interface PromptUsage {
  promptTokens: number;
  /** Tokens of the prompt that were read in an earlier call. */
  cachedTokens: number;
  /** Examples that stand in the prompt. */
  examples: number;
  /** Examples for which there was no room. */
  examplesDropped: number;
  tokenizeMs: number;
  inferenceMs: number;
  postMs: number;
}
export interface Choices {
  /** The best first. */
  choices: Choice[];
  usage: PromptUsage;
}
/** How likely a completion is after a prompt. */
export interface Score {
  /** Natural log of its probability. */
  logProbability: number;
  /** That by its tokens. */
  perToken: number;
  tokens: number;
  /** With the white space that stood at the end of the query. */
  bytes: number;
}
/** How likely a text is. */
export interface Perplexity {
  /** e to the negative mean log probability of a token. */
  perplexity: number;
  /** Negative log probability in bits, by the bytes of the tokens that were scored. */
  bitsPerByte: number;
  /** Natural log of the probability of the tokens that were scored. */
  logProbability: number;
  /** Tokens that were scored, and their bytes. */
  tokens: number;
  bytes: number;
  /** Windows that the text was read in; 1 unless it is longer than the context. */
  windows: number;
}
export interface SelfTest {
  /** Inputs that were run; 0 if the bundle has none. */
  vectors: number;
  largestDifference: number;
  tolerance: number;
}
export interface Memory {
  budget: number;
  /** The most private memory expected, in bytes. */
  expected: number;
  sessions: number;
  batchTokens: number;
  prepacked: boolean;
}
export interface Metrics {
  calls: number;
  failures: number;
  runs: number;
  rows: number;
  tokens: number;
  padding: number;
  runMicros: number;
}

// ---- owners

/** What holds memory of the library: freed by `using`, by close(), or by the garbage collector. Calls that run
 *  meanwhile end first. */
declare abstract class Owner implements Disposable {
  protected constructor();
  readonly closed: boolean;
  close(): void;
  [Symbol.dispose](): void;
}

/** A bundle, opened and verified: every length and hash in it was checked. Needs no ONNX Runtime. */
export class Bundle extends Owner {
  private readonly _bundle: never;
  /** Opens a file, which is mapped: do not change it while the bundle or its models are open; replace it. */
  static open(path: Text, options?: BundleOptions): Promise<Bundle>;
  /** Opens a bundle in memory. The bytes are copied. */
  static fromBytes(bytes: Uint8Array, options?: BundleOptions): Promise<Bundle>;
  /** Opens a bundle that lies in an open file: `length` bytes from `offset` on, or all up to its end. Keep the
   *  descriptor open until then. Not on Windows. */
  static fromFd(fd: number, offset?: number, length?: number, options?: BundleOptions): Promise<Bundle>;
  readonly id: string;
  readonly version: string;
  /** Build number of the model, which grows with each build of one id. */
  readonly build: number;
  /** What the model does: "text-classification". */
  readonly task: string;
  readonly maxTokens: number;
  /** In bytes. */
  readonly size: number;
  readonly labels: string[];
  /** Ids of the keys that the bundle says it is signed by; not checked, see verify. */
  readonly signers: string[];
  /** All that the manifest says. */
  readonly manifest: Record<string, unknown>;
  /** Checks that one of these public keys signed the bundle: its place among them. */
  verify(keys: Iterable<string>): Promise<number>;
}

/** A model ready to run. Calls run on other threads, as many at one time as the model has sessions. */
export class Model extends Owner {
  private readonly _model: never;
  /** Opens a bundle file, or makes the model of an open bundle. */
  static open(source: Text | Bundle, options?: ModelOptions): Promise<Model>;
  /** The bundle of the model, yours to close; it may outlive the model. */
  readonly bundle: Bundle;
  /** What the model does: "text-classification". */
  readonly task: string;
  /** Floats of an embedding; 0 if the model makes none. */
  readonly embeddingSize: number;
  /** What stands in a text for a word to be guessed; empty if the model guesses none. */
  readonly maskToken: string;
  /** Which providers were asked for and what became of them. */
  readonly providers: Record<string, unknown>;
  readonly memory: Memory;
  readonly metrics: Metrics;
  /** Runs the model on a text of its own, so that the first real call is not slower. */
  warmUp(): Promise<void>;
  /** Runs the inputs that were packed with the model; SelfTestError if this machine gives other outputs. */
  selfTest(): Promise<SelfTest>;
  /** How many tokens a text has, special tokens included and uncut. */
  countTokens(text: Text): Promise<number>;
  classify(text: Text, options?: ClassifyOptions): Promise<Classification>;
  classifyBatch(texts: Iterable<Text>, options?: ClassifyOptions): Promise<Classification[]>;
  /** Classifies two texts that belong together. */
  classifyPair(first: Text, second: Text, options?: ClassifyOptions): Promise<Classification>;
  classifyPairs(pairs: Iterable<Pair>, options?: ClassifyOptions): Promise<Classification[]>;
  /** Says which of your own labels fit a text. */
  zeroShot(text: Text, labels: Iterable<Text>, options?: ZeroShotOptions): Promise<ZeroShot>;
  zeroShotBatch(texts: Iterable<Text>, labels: Iterable<Text>, options?: ZeroShotOptions): Promise<ZeroShot[]>;
  /** Orders texts by how well they fit a query, the best first. */
  rerank(query: Text, texts: Iterable<Text>, options?: RerankOptions): Promise<Ranked[]>;
  /** Finds the entities of a text. */
  tag(text: Text, options?: TagOptions): Promise<Tagging>;
  tagBatch(texts: Iterable<Text>, options?: TagOptions): Promise<Tagging[]>;
  /** Answers a question with pieces of a text. */
  answer(question: Text, text: Text, options?: AnswerOptions): Promise<Answers>;
  answerBatch(questions: Iterable<Pair>, options?: AnswerOptions): Promise<Answers[]>;
  /** Guesses the masked words of a text, which stand in it as maskToken. */
  fillMask(text: Text, options?: FillMaskOptions): Promise<FilledMasks>;
  fillMaskBatch(texts: Iterable<Text>, options?: FillMaskOptions): Promise<FilledMasks[]>;
  /** Tells which of two texts comes first. */
  order(first: Text, second: Text, options?: OrderOptions): Promise<Order>;
  orderBatch(pairs: Iterable<Pair>, options?: OrderOptions): Promise<Order[]>;
  /** Finds typing errors and corruption: how likely each token was put there in place of another. */
  replaced(text: Text, options?: ReplacedOptions): Promise<Replacements>;
  replacedBatch(texts: Iterable<Text>, options?: ReplacedOptions): Promise<Replacements[]>;
  /** Writes on from a prompt. */
  generate(prompt: Text | Prompt, options?: GenerateOptions): Promise<Generation>;
  /** Writes on from texts, as many together as memory allows. */
  generateBatch(prompts: Iterable<Text>, options?: StreamOptions): Promise<Generation[]>;
  /** Writes on from a prompt, and gives the text while it is written. Options are checked at once, and the call begins
   *  with the first piece. */
  stream(prompt: Text | Prompt, options?: StreamOptions): Stream;
  /** Chooses between completions of a prompt. White space at the end of the query counts to the completions. */
  choose(prompt: Text | Prompt, completions: Iterable<Text>, options?: ChooseOptions): Promise<Choices>;
  /** Says how likely one completion is after a prompt. */
  score(prompt: Text | Prompt, completion: Text, options?: EndOptions): Promise<Score>;
  /** Says how likely a text is. One that is longer than the context is read in overlapping windows, each token scored
   *  once. */
  perplexity(text: Text, options?: PerplexityOptions): Promise<Perplexity>;
  /** Turns a text into a vector. */
  embed(text: Text, options?: CallOptions): Promise<Embedding>;
  embedBatch(texts: Iterable<Text>, options?: CallOptions): Promise<Embeddings>;
}

/** A classifier fitted on examples, on top of an embedding model, to which it belongs and which it does not hold. */
export class Head extends Owner {
  private readonly _head: never;
  /** Examples: texts with their labels. */
  static fit(model: Model, examples: Iterable<Pair>, options?: FitOptions): Promise<Head>;
  static load(path: Text): Promise<Head>;
  /** Writes the head to a file, whole or not at all. */
  save(path: Text): Promise<void>;
  readonly labels: string[];
  /** Classifies texts, with the model that the head was fitted on. */
  classify(
    model: Model,
    texts: Iterable<Text>,
    options?: CallOptions & { topK?: number; outOfScope?: number },
  ): Promise<Classification[]>;
}

/** A place for a model that can be replaced under load: calls in flight end on the model they began with. */
export class Slot extends Owner {
  private readonly _slot: never;
  /** Makes a slot with its first model, which also stays yours to close. */
  static of(model: Model): Slot;
  /** The model in use, as an object of your own to close. Ask anew for each piece of work. */
  readonly model: Model;
  /** Counts up with every change of the model, from 1. */
  readonly generation: number;
  /** Puts a model in use, if it does the task of the one before, is no older build of it, and passes its own self-test;
   *  else the model before stays. Gives the new generation. */
  publish(model: Model): Promise<number>;
  /** Goes back to the model before; once more returns to the newer one. Gives the new generation. */
  rollBack(): number;
  /** Gives the memory of the model before back, once the calls that use it have ended. */
  forgetPrevious(): void;
}

/** The cosine of the angle between two vectors: 1 for the same direction, 0 for a right angle. */
export function similarity(first: Vector, second: Vector): number;
/** The `k` vectors most similar to `query`, the nearest first. Many vectors: in an array, or one after the other in a
 *  Float32Array. */
export function nearest(query: Vector, vectors: Embeddings | Float32Array | Iterable<Vector>, k: number): Neighbour[];
