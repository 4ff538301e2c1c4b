//! The settings of this service, and of the Lambda.

use clap::Args;

use crate::function::Program;

/// The settings of the service.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Config {
    /// Base address of the products service.
    #[arg(
        id = "files-products-url",
        long = "files-products-url",
        env = "TIDEMARK_PRODUCTS_URL",
        default_value = "http://127.0.0.1:5002",
        value_name = "URL"
    )]
    pub products_url: String,
    /// Size limit of a processed file, in bytes, for every source.
    #[arg(long, env = "TIDEMARK_FILES_MAX_BYTES", default_value_t = 5 << 30, value_name = "BYTES")]
    pub files_max_bytes: u64,
    /// Size limit of a posted file, in bytes.
    #[arg(long, env = "TIDEMARK_FILES_MAX_UPLOAD_BYTES", default_value_t = 100 << 20, value_name = "BYTES")]
    pub files_max_upload_bytes: u64,
}

impl Config {
    /// Returns the program with these settings in its environment.
    pub(crate) fn told_to(&self, mut program: Program) -> Program {
        let max_bytes = self.files_max_bytes.to_string();
        let told = [
            ("TIDEMARK_PRODUCTS_URL", self.products_url.clone()),
            ("TIDEMARK_FILES_MAX_BYTES", max_bytes),
        ];
        program.environment.extend(told);

        program
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            products_url: "http://127.0.0.1:5002".to_owned(),
            files_max_bytes: 5 << 30,
            files_max_upload_bytes: 100 << 20,
        }
    }
}
