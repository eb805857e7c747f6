//! The one place where an algorithm's error becomes a SQLSTATE, a message, a DETAIL and a HINT.

use base::Error;
use pgrx::pg_sys;
pub(crate) use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use pgrx::pg_sys::panic::ErrorReport;

/// What every function of the glue returns: an error is a finished Postgres error report.
pub(crate) type Result<T> = std::result::Result<T, ErrorReport>;

/// An error with a code and a primary message; `set_detail` and `set_hint` add the rest.
pub(crate) fn fail(code: Code, message: impl Into<String>) -> ErrorReport {
    ErrorReport::new(code, clipped(message.into()), "pg_persona")
}

/// Says which option named what an error is about, where it has no DETAIL.
pub(crate) fn named_by(option: &str) -> impl Fn(ErrorReport) -> ErrorReport + '_ {
    move |error| match error.detail() {
        None => error.set_detail(format!("Option \"{option}\" names it.")),
        Some(_) => error,
    }
}

/// A message that quotes an argument of megabytes is cut: it goes into the server log too.
fn clipped(mut message: String) -> String {
    const LONGEST: usize = 1000;
    if let Some((end, _)) = message.char_indices().nth(LONGEST) {
        message.truncate(end);
        message.push('…');
    }
    message
}

/// Turns an algorithm's result into one of the glue.
pub(crate) trait OrReport<T> {
    fn or_report(self) -> Result<T>;
}

impl<T> OrReport<T> for base::Result<T> {
    fn or_report(self) -> Result<T> {
        self.map_err(report)
    }
}

fn report(error: Error) -> ErrorReport {
    let message = error.to_string();
    match error {
        Error::Cancelled => fail(Code::ERRCODE_QUERY_CANCELED, "canceling statement due to user request"),
        Error::Parameter { .. } => fail(Code::ERRCODE_INVALID_PARAMETER_VALUE, message),
        Error::Word { allowed, .. } => {
            fail(Code::ERRCODE_INVALID_PARAMETER_VALUE, message).set_hint(format!("Valid words are {}.", words(allowed)))
        }
        Error::Memory { advice, .. } => fail(Code::ERRCODE_OUT_OF_MEMORY, message)
            .set_detail("The limit is the setting \"persona.max_memory\".")
            .set_hint(format!("{advice} Or have a superuser raise \"persona.max_memory\".")),
        Error::NoMemory { .. } => fail(Code::ERRCODE_OUT_OF_MEMORY, message)
            .set_detail("The system refused memory that \"persona.max_memory\" allows.")
            .set_hint("Lower \"persona.max_memory\", or train on fewer rows."),
        Error::NoData => fail(Code::ERRCODE_NO_DATA, message)
            .set_hint("Every row was skipped or the relation is empty; ids, values and times must not be null, and values must be above 0."),
        Error::TooMany { .. } => fail(Code::ERRCODE_PROGRAM_LIMIT_EXCEEDED, message),
        Error::Diverged { .. } => fail(Code::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE, message)
            .set_hint("Lower \"alpha\" or \"regularization\", or scale the value column down."),
        Error::TooFar => fail(Code::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE, message)
            .set_hint("Scale the column down, or choose another \"scaling\"."),
        Error::Format(_) | Error::UnknownKind => fail(Code::ERRCODE_FEATURE_NOT_SUPPORTED, message)
            .set_hint("Update the extension, or train the model again."),
        Error::Corrupted(_) => {
            fail(Code::ERRCODE_DATA_CORRUPTED, message).set_hint("Train the model again with persona.retrain().")
        }
    }
}

/// A number as SQL writes it.
pub(crate) fn shown_real(value: f64) -> String {
    match value {
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        _ => value.to_string(),
    }
}

/// `a`, `b` and `c` as `"a", "b" and "c"`.
pub(crate) fn words(all: &[&str]) -> String {
    let quoted: Vec<String> = all.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// The known name nearest to `given`, when it is near enough to be a slip of the pen.
pub(crate) fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The distance to a text of megabytes would take minutes.
    if given.len() > 4 * pg_sys::NAMEDATALEN as usize {
        return None;
    }
    let given = given.to_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&given, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= name.chars().count().max(given.chars().count()).div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}
