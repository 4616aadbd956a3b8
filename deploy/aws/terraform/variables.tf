variable "region" {
  description = "Region of the function and the bucket, and of the image."
  type        = string
}

variable "name" {
  description = "Name of the function, the role and the log group."
  type        = string
  default     = "registry-proxy"
}

variable "image" {
  description = "The image in ECR, in this region, for one processor: ACCOUNT.dkr.ecr.REGION.amazonaws.com/registry-proxy:0.1.0."
  type        = string
  default     = ""
}

variable "package" {
  description = "Path of the zip that `cargo xtask package aws` makes, in place of an image."
  type        = string
  default     = ""
}

variable "architecture" {
  description = "The processor that the image or the zip is for."
  type        = string
  default     = "x86_64"

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "x86_64 or arm64."
  }
}

variable "path_secret" {
  description = "A path segment that every pull carries: docker pull HOST/SECRET/library/alpine."
  type        = string
  sensitive   = true

  validation {
    condition     = can(regex("^[a-z0-9]{16,128}$", var.path_secret))
    error_message = "16 to 128 lower-case letters and digits: openssl rand -hex 16."
  }
}

variable "memory_size" {
  description = "Megabytes; Lambda assigns processor time in proportion. Layers are not held in memory."
  type        = number
  default     = 256
}

variable "expiration_days" {
  description = "Days after which cached objects expire; the next pull fetches them again."
  type        = number
  default     = 30
}

variable "reserved_concurrency" {
  description = "Reserved concurrency, which limits the bill; -1 means the account's limit."
  type        = number
  default     = -1
}

variable "warm_schedule" {
  description = "When the images of [[warm]] are fetched, such as cron(0 23 ? * SUN-THU *), in UTC; empty: never. The rules are environment's REGISTRY_PROXY_WARM."
  type        = string
  default     = ""
}

variable "cloudfront" {
  description = "Puts CloudFront in front, which alone may ask the function then. For pulls without logins only."
  type        = bool
  default     = false
}

variable "environment" {
  description = "More variables, such as REGISTRY_BACKEND. 4 KB at most, all together."
  type        = map(string)
  default     = {}
}
