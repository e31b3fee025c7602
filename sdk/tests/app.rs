//! Living in somebody's app: its log, its other ONNX Runtime, its hardware.

mod common;

use std::path::Path;
use std::sync::{Arc, Mutex};

use limbeck::runtime::{LogLevel, Provider, set_logger};
use limbeck::{ClassifyOptions, Code, Overflow};

#[test]
fn providers_that_are_not_there_are_told_and_replaced() {
    let wanted = [Provider::Cuda, Provider::Qnn, Provider::Cpu];
    let model = common::builder().providers(wanted).open_bytes(common::writer(|_| {}).to_bytes().unwrap()).unwrap();
    let report = model.providers();
    assert_eq!(report.requested, wanted);
    let refused: Vec<Provider> = report.refused.iter().map(|(provider, _)| *provider).collect();
    assert_eq!(refused, [Provider::Cuda, Provider::Qnn], "{report:?}");
    assert!(report.refused.iter().all(|(_, reason)| !reason.is_empty()));
    let nodes: Vec<(&str, usize)> = report.nodes.iter().map(|(name, &count)| (name.as_str(), count)).collect();
    assert!(matches!(nodes[..], [("CPUExecutionProvider", count)] if count > 0), "{nodes:?}");
    let plain = common::open(|_| {});
    assert!(plain.providers().requested.is_empty() && plain.providers().nodes.is_empty());
    let [one, other] = [&model, &plain].map(|model| common::logits(&model.classify("the film").unwrap()));
    assert_eq!(one, other);
}

#[test]
fn messages_go_to_the_programs_own_log() {
    let heard: Arc<Mutex<Vec<(LogLevel, String)>>> = Arc::default();
    let sink = Arc::clone(&heard);
    set_logger(
        LogLevel::Warning,
        Some(Arc::new(move |level, text| sink.lock().unwrap().push((level, text.to_owned())))),
    );
    let bytes = common::writer(|_| {}).to_bytes().unwrap();
    common::builder().providers([Provider::CoreMl]).open_bytes(bytes.clone()).unwrap();
    set_logger(LogLevel::Warning, Some(Arc::new(|_, _| panic!("a logger that panics"))));
    common::builder().providers([Provider::CoreMl]).open_bytes(bytes.clone()).unwrap();
    set_logger(LogLevel::Verbose, None);
    common::builder().providers([Provider::CoreMl]).open_bytes(bytes).unwrap();
    let heard = heard.lock().unwrap();
    let told = |(level, text): &&(LogLevel, String)| *level == LogLevel::Warning && text.contains("coreml");
    assert_eq!(heard.iter().filter(told).count(), 1, "{heard:?}");
}

/// A graph with an operator that no library has, as it would be with one that a reduced build lacks.
#[test]
fn a_missing_operator_is_named() {
    let graph = common::data("tiny.onnx");
    let at = graph.windows(4).position(|bytes| bytes == b"Tanh").unwrap();
    let mut graph = graph;
    graph[at..at + 4].copy_from_slice(b"Tanq");
    let mut manifest = common::manifest();
    manifest.operators.push("ai.onnx:Tanq".into());
    let bundle = limbeck::BundleWriter::new(manifest)
        .classifier(common::data("tokenizer.json"), graph, common::data("tiny.data"), &common::labels())
        .to_bytes()
        .unwrap();
    let error = common::builder().open_bytes(bundle).unwrap_err();
    assert_eq!(error.code(), Code::Inference);
    let text = error.to_string();
    for part in ["has no ai.onnx:Tanq", "version 1.", "libonnxruntime"] {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

#[test]
fn metrics_count_what_was_done() {
    let model = common::open(|_| {});
    assert_eq!(model.metrics(), Default::default());
    model.classify("the film").unwrap();
    let texts = ["the film", "the", "the film was not very good at all and so on"];
    model.classify_batch(&texts, &ClassifyOptions::new()).unwrap();
    let metrics = model.metrics();
    assert_eq!((metrics.calls, metrics.failures, metrics.rows), (2, 0, 4));
    let tokens: usize =
        std::iter::once("the film").chain(texts).map(|text| model.tokenize(text).unwrap().ids.len()).sum();
    assert_eq!(metrics.tokens, tokens as u64);
    assert!((2..=4).contains(&metrics.runs));
    let cancel = limbeck::Cancel::new();
    cancel.cancel();
    model.classify_with("the", &ClassifyOptions::new().cancel(cancel)).unwrap_err();
    model.classify_with(&"the ".repeat(500), &ClassifyOptions::new().overflow(Overflow::Error)).unwrap_err();
    assert_eq!(model.metrics().calls, 2, "calls that never reached the model");
}

/// A thousand texts of every length from 1 to 60 tokens: padding stays within the buckets.
#[test]
fn a_mixed_batch_costs_little_padding() {
    let model = common::open(|_| {});
    let texts: Vec<String> = (0..1000).map(|i| "the ".repeat(1 + (i * 37) % 60)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    model.classify_batch(&texts, &ClassifyOptions::new()).unwrap();
    let metrics = model.metrics();
    assert!(metrics.padding * 100 < metrics.tokens * 12, "{metrics:?}");
    assert!(metrics.runs < 60, "{metrics:?}");
}

/// Another part of the app has an ONNX Runtime of its own, from another file.
#[test]
#[cfg(unix)]
fn another_runtime_in_the_process_is_no_trouble() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("libonnxruntime_of_the_app.so");
    std::fs::copy(common::runtime(), &copy).unwrap();
    let other = OtherRuntime::open(&copy);
    let model = common::open(|_| {});
    let before = common::logits(&model.classify("the film").unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| (0..200).for_each(|_| assert_eq!(other.identity(3.5), 3.5)));
        scope.spawn(|| {
            for _ in 0..200 {
                assert_eq!(common::logits(&model.classify("the film").unwrap()), before);
            }
        });
    });
    let ours = limbeck::runtime::loaded().unwrap();
    assert_ne!(ours.path.canonicalize().unwrap(), copy.canonicalize().unwrap());
}

/// ONNX Runtime as another part of a program would use it: through its C interface alone.
#[cfg(unix)]
struct OtherRuntime {
    api: *const ort::sys::OrtApi,
    session: *mut ort::sys::OrtSession,
    info: *mut ort::sys::OrtMemoryInfo,
    _library: libloading::Library,
}

// SAFETY: sessions of ONNX Runtime may be run from any thread.
#[cfg(unix)]
unsafe impl Sync for OtherRuntime {}

#[cfg(unix)]
impl OtherRuntime {
    fn open(path: &Path) -> OtherRuntime {
        use std::ptr;
        // SAFETY: the calls are those of the C interface's own example, in its order, with valid arguments; all that
        // is made is kept.
        unsafe {
            let library = libloading::Library::new(path).unwrap();
            let base =
                library.get::<unsafe extern "C" fn() -> *const ort::sys::OrtApiBase>(b"OrtGetApiBase\0").unwrap()();
            let api = ((*base).GetApi)(24);
            assert!(!api.is_null());
            let (mut env, mut options, mut session, mut info) =
                (ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
            let level = ort::sys::OrtLoggingLevel::ORT_LOGGING_LEVEL_FATAL;
            ok(((*api).CreateEnv)(level, c"app".as_ptr(), &mut env));
            ok(((*api).CreateSessionOptions)(&mut options));
            let graph = identity_graph();
            ok(((*api).CreateSessionFromArray)(env, graph.as_ptr().cast(), graph.len(), options, &mut session));
            ok(((*api).CreateCpuMemoryInfo)(
                ort::sys::OrtAllocatorType::OrtDeviceAllocator,
                ort::sys::OrtMemType::OrtMemTypeDefault,
                &mut info,
            ));
            OtherRuntime { api, session, info, _library: library }
        }
    }

    fn identity(&self, value: f32) -> f32 {
        use std::ptr;
        let (mut data, shape) = ([value], [1i64]);
        // SAFETY: as above; the tensor over `data` ends before it.
        unsafe {
            let api = &*self.api;
            let mut input = ptr::null_mut();
            ok((api.CreateTensorWithDataAsOrtValue)(
                self.info,
                data.as_mut_ptr().cast(),
                size_of_val(&data),
                shape.as_ptr(),
                1,
                ort::sys::ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
                &mut input,
            ));
            let (names, results, mut output) = ([c"x".as_ptr()], [c"y".as_ptr()], ptr::null_mut());
            let inputs = [input.cast_const()];
            ok((api.Run)(
                self.session,
                ptr::null(),
                names.as_ptr(),
                inputs.as_ptr(),
                1,
                results.as_ptr(),
                1,
                &mut output,
            ));
            let mut values = ptr::null_mut();
            ok((api.GetTensorMutableData)(output, &mut values));
            let value = *values.cast::<f32>();
            (api.ReleaseValue)(output);
            (api.ReleaseValue)(input);
            value
        }
    }
}

#[cfg(unix)]
fn ok(status: ort::sys::OrtStatusPtr) {
    assert!(status.0.is_null());
}

/// An ONNX model with one Identity node from `x` to `y`, both one float.
#[cfg(unix)]
fn identity_graph() -> Vec<u8> {
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, content.len() as u8], content].concat()
    }
    let number = |field: u8, value: u8| vec![field << 3, value];
    let node = [field(1, b"x"), field(2, b"y"), field(4, b"Identity")].concat();
    let shape = field(1, &number(1, 1));
    let tensor = [number(1, 1), field(2, &shape)].concat();
    let value = |name: &[u8]| [field(1, name), field(2, &field(1, &tensor))].concat();
    let graph = [field(1, &node), field(2, b"g"), field(11, &value(b"x")), field(12, &value(b"y"))].concat();
    [number(1, 9), field(7, &graph), field(8, &number(2, 17))].concat()
}
