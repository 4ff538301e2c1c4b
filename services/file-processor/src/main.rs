//! The program that AWS Lambda starts.

use clap::Parser;
use file_processor::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda::run(lambda::Settings::parse()).await
}
