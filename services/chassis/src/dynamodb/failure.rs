//! The error of a store in DynamoDB, and its problem document.

use aws_sdk_dynamodb::error::SdkError;

use crate::{Problem, in_one_line};

/// The reason why an operation of a store in DynamoDB failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// DynamoDB rejected the request or did not answer; a write may have happened.
    #[error("DynamoDB failed: {}", in_one_line(&**.0))]
    DynamoDb(#[source] Box<aws_sdk_dynamodb::Error>),
    /// An item could not be decoded.
    #[error("an item cannot be read: {0}")]
    Unreadable(#[from] serde_dynamo::Error),
}

/// Returns whether the condition of a write held; the write happened only then.
///
/// # Errors
/// [`StoreError::DynamoDb`] if the write failed for another reason.
pub fn held<T, E>(outcome: Result<T, SdkError<E>>) -> Result<bool, StoreError>
where
    aws_sdk_dynamodb::Error: From<SdkError<E>>,
{
    match outcome.map_err(aws_sdk_dynamodb::Error::from) {
        Ok(_) => Ok(true),
        Err(aws_sdk_dynamodb::Error::ConditionalCheckFailedException(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

impl From<aws_sdk_dynamodb::Error> for StoreError {
    fn from(error: aws_sdk_dynamodb::Error) -> Self {
        Self::DynamoDb(Box::new(error))
    }
}

impl<E> From<SdkError<E>> for StoreError
where
    aws_sdk_dynamodb::Error: From<SdkError<E>>,
{
    fn from(error: SdkError<E>) -> Self {
        aws_sdk_dynamodb::Error::from(error).into()
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unreadable(error) => Self::internal(error),
            error @ StoreError::DynamoDb(_) => {
                tracing::warn!(%error, "a request failed");
                Self::unavailable("the store cannot be reached; try again")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::config::http::HttpResponse;
    use aws_sdk_dynamodb::operation::put_item::PutItemError;
    use aws_sdk_dynamodb::types::error::{
        ConditionalCheckFailedException, ResourceNotFoundException,
    };
    use axum::response::IntoResponse;

    use super::*;

    fn refused(error: PutItemError) -> SdkError<PutItemError> {
        let response = HttpResponse::new(400.try_into().unwrap(), "".into());
        SdkError::service_error(error, response)
    }

    #[test]
    fn only_a_failed_condition_is_no_error_and_an_outage_is_a_503() {
        let failed = ConditionalCheckFailedException::builder().build();
        let no_table = ResourceNotFoundException::builder().build();

        assert!(held(Ok::<(), SdkError<PutItemError>>(())).unwrap());
        assert!(
            !held(Err::<(), _>(refused(
                PutItemError::ConditionalCheckFailedException(failed)
            )))
            .unwrap()
        );

        let error = held(Err::<(), _>(refused(
            PutItemError::ResourceNotFoundException(no_table),
        )))
        .unwrap_err();
        assert!(
            error.to_string().starts_with("DynamoDB failed: "),
            "{error}"
        );
        assert_eq!(Problem::from(error).into_response().status(), 503);

        let unreadable = serde_dynamo::from_item::<_, u8>(std::collections::HashMap::<
            String,
            aws_sdk_dynamodb::types::AttributeValue,
        >::new());
        let error = StoreError::from(unreadable.unwrap_err());
        assert_eq!(Problem::from(error).into_response().status(), 500);
    }
}
