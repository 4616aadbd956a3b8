variable "region" {
  description = "Region. Those in mainland China need a domain with an ICP filing; see ../README.md."
  type        = string
  default     = "cn-hongkong"
}

variable "name" {
  description = "Name of the function and the role."
  type        = string
  default     = "registry-proxy"
}

variable "image" {
  description = "The image in Container Registry, in this region: registry-vpc.REGION.aliyuncs.com/NAMESPACE/registry-proxy:0.1.0."
  type        = string
  default     = ""
}

variable "package" {
  description = "Path of the zip that `cargo xtask package aliyun` makes, in place of an image."
  type        = string
  default     = ""
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

variable "bucket" {
  description = "Name of a bucket to create for layers, unique in the world. Empty: each instance caches on its own disk."
  type        = string
  default     = ""
}

variable "expiration_days" {
  description = "Days after which cached objects expire; the next pull fetches them again."
  type        = number
  default     = 30
}

variable "environment" {
  description = "More variables, such as REGISTRY_BACKEND."
  type        = map(string)
  default     = {}
}
