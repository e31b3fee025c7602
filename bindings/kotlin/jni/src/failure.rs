//! Failed calls, and how they become exceptions.

use std::any::Any;
use std::fmt;

use jni::errors::ErrorPolicy;
use jni::objects::{JThrowable, JValue};
use jni::{Env, EnvUnowned, jni_sig, jni_str};
use limbeck_sdk::Code;

use crate::panic_text;

/// Why a call failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// One of limbeck's: its code and its message.
    Own(i32, String),
    /// One of the virtual machine's: an exception is pending, or memory is short.
    Jvm(jni::errors::Error),
}

impl Failure {
    pub(crate) fn argument(message: impl Into<String>) -> Self {
        Self::Own(Code::InvalidArgument as i32, message.into())
    }

    pub(crate) fn internal(message: impl fmt::Display) -> Self {
        Self::Own(Code::Internal as i32, format!("internal error of limbeck (please report it): {message}"))
    }

    /// The number of its status.
    pub(crate) fn code(&self) -> i32 {
        match self {
            Self::Own(code, _) => *code,
            Self::Jvm(_) => Code::Internal as i32,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(_, message) => f.write_str(message),
            Self::Jvm(error) => write!(f, "the virtual machine failed: {error}"),
        }
    }
}

impl From<limbeck_sdk::Error> for Failure {
    fn from(error: limbeck_sdk::Error) -> Self {
        Self::Own(error.code() as i32, error.to_string())
    }
}

impl From<jni::errors::Error> for Failure {
    fn from(error: jni::errors::Error) -> Self {
        Self::Jvm(error)
    }
}

/// Runs the body of a native method. What fails, or panics, becomes an exception in Kotlin.
pub(crate) fn guard<'local, T: Default>(
    env: &mut EnvUnowned<'local>,
    body: impl FnOnce(&mut Env<'local>) -> Result<T, Failure>,
) -> T {
    panic_text::install();
    env.with_env(body).resolve::<Throw>()
}

/// Throws what Kotlin's `LimbeckException.of` makes of a code and a message.
struct Throw;

impl<T: Default> ErrorPolicy<T, Failure> for Throw {
    type Captures<'unowned: 'native, 'native> = ();

    fn on_error<'unowned: 'native, 'native>(
        env: &mut Env<'unowned>,
        (): &mut (),
        failure: Failure,
    ) -> jni::errors::Result<T> {
        // One that is thrown already, by a function of the caller's or for want of memory, says more.
        if !env.exception_check() {
            throw(env, failure.code(), &failure.to_string())?;
        }
        Ok(T::default())
    }

    fn on_panic<'unowned: 'native, 'native>(
        env: &mut Env<'unowned>,
        (): &mut (),
        payload: Box<dyn Any + Send + 'static>,
    ) -> jni::errors::Result<T> {
        let failure = Failure::internal(panic_text::of(payload));
        if !env.exception_check() {
            throw(env, failure.code(), &failure.to_string())?;
        }
        Ok(T::default())
    }
}

fn throw(env: &mut Env<'_>, code: i32, message: &str) -> jni::errors::Result<()> {
    let message = env.new_string(message)?;
    let made = env.call_static_method(
        jni_str!("io/github/limbeck/LimbeckException"),
        jni_str!("of"),
        jni_sig!("(ILjava/lang/String;)Lio/github/limbeck/LimbeckException;"),
        &[JValue::Int(code), JValue::Object(&message)],
    )?;
    let exception = env.cast_local::<JThrowable>(made.l()?)?;
    // It says "an exception was thrown", which is what is wanted.
    match env.throw(exception) {
        Err(jni::errors::Error::JavaException) => Ok(()),
        other => other,
    }
}
