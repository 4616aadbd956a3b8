variable "region" {
  description = "Region. Outside of mainland China the bucket's default domain works; see README.md."
  type        = string
  default     = "ap-hongkong"
}

variable "name" {
  description = "Name of the function and the role; with the account's number, of the bucket."
  type        = string
  default     = "registry-proxy"
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

variable "image" {
  description = "The image in TCR, in this region, with tag and digest: DOMAIN/NAMESPACE/registry-proxy:0.1.0@sha256:…. Without it registry-proxy.zip beside this file is deployed."
  type        = string
  default     = ""
}

variable "image_registry_id" {
  description = "The TCR instance that has the image, tcr-…; not for the personal edition."
  type        = string
  default     = ""
}

variable "memory_size" {
  description = "Megabytes, a multiple of 128."
  type        = number
  default     = 256

  validation {
    condition     = var.memory_size >= 128 && var.memory_size % 128 == 0
    error_message = "A multiple of 128."
  }
}

variable "expiration_days" {
  description = "Days after which cached objects expire; the next pull fetches them again."
  type        = number
  default     = 30
}

variable "environment" {
  description = "More variables, such as REGISTRY_BACKEND. 4 KB at most, all together."
  type        = map(string)
  default     = {}
}
