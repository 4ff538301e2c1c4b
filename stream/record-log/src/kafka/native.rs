//! Passes a publisher's records to librdkafka.

use std::ffi::c_void;
use std::ptr::{self, NonNull};

use rdkafka::error::RDKafkaErrorCode;
use rdkafka_sys as sys;
use sys::rd_kafka_resp_err_t as Code;
use sys::rd_kafka_vtype_t as Part;

use super::client::Client;
use super::to_kafka_partition;
use crate::NewRecord;

/// librdkafka chooses the partition by the key.
const ANY_PARTITION: i32 = -1;

/// The error for a header that librdkafka rejects.
#[derive(Debug, thiserror::Error)]
#[error("a header could not be kept: {0}")]
pub(super) struct InvalidHeader(RDKafkaErrorCode);

/// Copies the record into librdkafka's buffer.
pub(super) fn produce(
    client: &Client,
    topic: NonNull<sys::rd_kafka_topic_t>,
    record: &NewRecord<'_>,
) -> Result<Code, InvalidHeader> {
    let headers = native_headers(record.headers)?;
    let partition = record.partition.map_or(ANY_PARTITION, to_kafka_partition);
    let (key, key_length) = parts(record.key);
    let (value, value_length) = parts(record.value);

    // SAFETY: each part is followed by the arguments that librdkafka expects of it, and END by
    // none. Key and value are live and copied. The headers are taken over if and only if the call
    // succeeds.
    let code = unsafe {
        sys::rd_kafka_producev(
            client.raw(),
            Part::RD_KAFKA_VTYPE_RKT,
            topic.as_ptr(),
            Part::RD_KAFKA_VTYPE_PARTITION,
            partition,
            Part::RD_KAFKA_VTYPE_MSGFLAGS,
            sys::RD_KAFKA_MSG_F_COPY,
            Part::RD_KAFKA_VTYPE_KEY,
            key,
            key_length,
            Part::RD_KAFKA_VTYPE_VALUE,
            value,
            value_length,
            Part::RD_KAFKA_VTYPE_HEADERS,
            headers,
            Part::RD_KAFKA_VTYPE_END,
        )
    };

    if code != Code::RD_KAFKA_RESP_ERR_NO_ERROR && !headers.is_null() {
        // SAFETY: the call failed, so the headers are still ours.
        unsafe { sys::rd_kafka_headers_destroy(headers) };
    }

    Ok(code)
}

fn parts(bytes: Option<&[u8]>) -> (*const c_void, usize) {
    bytes.map_or((ptr::null(), 0), |bytes| {
        (bytes.as_ptr().cast(), bytes.len())
    })
}

/// Converts headers to librdkafka's form; null if there are none.
fn native_headers(
    headers: &[(&str, &[u8])],
) -> Result<*mut sys::rd_kafka_headers_t, InvalidHeader> {
    if headers.is_empty() {
        return Ok(ptr::null_mut());
    }

    // SAFETY: it allocates; the added bytes are live, of these lengths, and copied.
    let native = unsafe { sys::rd_kafka_headers_new(headers.len()) };
    for (name, value) in headers {
        // SAFETY: as above. A slice is never longer than isize::MAX.
        let code = unsafe {
            sys::rd_kafka_header_add(
                native,
                name.as_ptr().cast(),
                name.len() as isize,
                value.as_ptr().cast(),
                value.len() as isize,
            )
        };
        if code != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
            // SAFETY: nothing else holds the headers.
            unsafe { sys::rd_kafka_headers_destroy(native) };
            return Err(InvalidHeader(code.into()));
        }
    }

    Ok(native)
}
